package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/invectd/invectd/broker/brokertest"
	"github.com/invectd/invectd/broker/store"
)

// A backup is made at once and then at every turn; the last few are kept, and
// what is not ours is left alone.
func TestBackupSchedule(t *testing.T) {
	s := backupSchedule{Dir: filepath.Join(t.TempDir(), "backups"), Every: time.Hour}
	if err := errors.Join(os.Mkdir(s.Dir, 0o700), os.WriteFile(filepath.Join(s.Dir, "mine.txt"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), (backupsKept+3)*time.Hour-time.Minute)
		defer stop()
		began := time.Now()
		if err := s.run(ctx, new(brokertest.MemStore), slog.New(slog.DiscardHandler)); err != nil {
			t.Errorf("run = %v, want nil", err)
		}
		made, err := s.made()
		if err != nil || len(made) != backupsKept {
			t.Fatalf("%d backups are there, %v, want the last %d: %v", len(made), err, backupsKept, made)
		}
		for i, path := range made {
			if want := began.Add(time.Duration(i+3) * time.Hour).UTC().Format(backupLayout); filepath.Base(path) != want {
				t.Errorf("backup %d is %s, want %s", i, filepath.Base(path), want)
			}
		}
		if !slices.IsSorted(made) {
			t.Errorf("the backups %v are not in their order", made)
		}
		// A restart waits for the rest of the hour.
		if wait, err := s.wait(time.Now()); err != nil || wait != time.Minute {
			t.Errorf("after a restart it waits %v, %v, want a minute", wait, err)
		}
	})
	if _, err := os.Stat(filepath.Join(s.Dir, "mine.txt")); err != nil {
		t.Errorf("a file that is no backup: %v", err)
	}
}

// One that fails leaves nothing behind, is told, and is made once it can be.
func TestScheduledBackupThatFails(t *testing.T) {
	s := backupSchedule{Dir: t.TempDir(), Every: time.Hour}
	var log lockedBuffer
	synctest.Test(t, func(t *testing.T) {
		db := new(brokertest.MemStore)
		db.Fail(io.ErrUnexpectedEOF)
		time.AfterFunc(90*time.Second, func() { db.Fail(nil) })
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
		defer stop()
		if err := s.run(ctx, db, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Errorf("run = %v, want nil", err)
		}
	})
	entries, err := os.ReadDir(s.Dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v, want one backup", entries, err)
	}
	if count := strings.Count(log.String(), "the scheduled backup failed"); count != 2 {
		t.Errorf("it failed %d times, want 2:\n%s", count, log.String())
	}
}

func TestBackupScheduleSettings(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string // of the error
	}{
		{nil, ""},
		{[]string{"--backup-dir", "/b"}, ""},
		{[]string{"--backup-dir", "/b", "--backup-every", "10s"}, "--backup-every"},
	} {
		s, err := configured(t, test.args, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.daemonConfig(store.Key{})
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v = %v, want %q", test.args, err, test.want)
		}
		if err == nil && (c.Backups.Dir != s.backupDir || c.Backups.Every != 24*time.Hour) {
			t.Errorf("%v = %+v, want a daily one", test.args, c.Backups)
		}
	}
}
