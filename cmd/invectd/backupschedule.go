package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/invectd/invectd/broker"
)

// A backupSchedule has the daemon back its store up by itself. Without a folder
// it does not.
type backupSchedule struct {
	Dir   string
	Every time.Duration
}

// backupsKept is how many scheduled backups are kept: a week of daily ones.
const backupsKept = 7

// The names of scheduled backups sort by their age.
const (
	backupPattern = "invectd-*Z.backup"
	backupLayout  = "invectd-20060102T150405.000Z.backup"
)

// run makes backups until ctx ends, the first once the newest that is there is
// old enough. One that fails is told and tried again at the next turn.
func (s backupSchedule) run(ctx context.Context, db broker.Backups, log *slog.Logger) error {
	if s.Dir == "" {
		return nil
	}
	for {
		wait, err := s.wait(time.Now())
		if err != nil {
			log.Error("the backups cannot be looked at", "err", err)
			wait = s.Every
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		path, err := s.backUp(ctx, db, time.Now())
		if err == nil {
			log.Info("backed up", "to", path)
			continue
		}
		log.Error("the scheduled backup failed", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(min(s.Every, time.Minute)):
		}
	}
}

// wait is how long the newest backup is still young enough.
func (s backupSchedule) wait(now time.Time) (time.Duration, error) {
	made, err := s.made()
	if err != nil || len(made) == 0 {
		return 0, err
	}
	at, err := time.Parse(backupLayout, filepath.Base(made[len(made)-1]))
	if err != nil {
		return 0, nil // not one of ours
	}
	return min(max(0, at.Add(s.Every).Sub(now)), s.Every), nil // a clock may have been set back
}

// made are the scheduled backups that are there, the oldest first.
func (s backupSchedule) made() ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(s.Dir, backupPattern))
	slices.Sort(paths)
	return paths, err
}

// backUp makes one backup, and then removes those that are too many.
func (s backupSchedule) backUp(ctx context.Context, db broker.Backups, now time.Time) (path string, err error) {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return "", err
	}
	path = filepath.Join(s.Dir, now.UTC().Format(backupLayout))
	if _, err := replaceFile(path, func(w io.Writer) error { return db.Backup(ctx, w) }); err != nil {
		return "", fmt.Errorf("backing up to %s: %w", path, err)
	}
	made, err := s.made()
	if err != nil {
		return "", err
	}
	for _, old := range made[:max(0, len(made)-backupsKept)] {
		if err := os.Remove(old); err != nil {
			return "", fmt.Errorf("removing an old backup: %w", err)
		}
	}
	return path, nil
}
