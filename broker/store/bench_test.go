package store

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/invectd/invectd/broker"
)

// BenchmarkUpdate writes 1 KB credentials; with many writers a commit carries
// the writes of all that wait.
func BenchmarkUpdate(b *testing.B) {
	for _, writers := range []int{1, 32} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			db := open(b, b.TempDir())
			ids := make([]broker.ID, writers)
			for i := range ids {
				ids[i] = broker.ID(fmt.Sprint("id-", i))
				config := broker.NewConfig(map[string]any{"accessToken": strings.Repeat("t", 900)})
				if _, err := db.Create(b.Context(), broker.Credential{Summary: broker.Summary{ID: ids[i]}, Config: config}); err != nil {
					b.Fatal(err)
				}
			}
			commits := db.root.commits
			b.ResetTimer()
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			for _, id := range ids {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := db.Update(context.Background(), id, func(c *broker.Credential) error { c.ReadCount++; return nil }); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
			b.ReportMetric(float64(b.N)/float64(db.root.commits-commits), "writes/commit")
		})
	}
}

func BenchmarkGet(b *testing.B) {
	db := open(b, b.TempDir())
	config := broker.NewConfig(map[string]any{"accessToken": strings.Repeat("t", 900)})
	if _, err := db.Create(b.Context(), broker.Credential{Summary: broker.Summary{ID: "id"}, Config: config}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := db.Get(b.Context(), "id"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStart opens a store of 10,000 credentials and reads all summaries.
func BenchmarkStart(b *testing.B) {
	dir := b.TempDir()
	db := open(b, dir)
	var wg sync.WaitGroup
	for w := range 100 {
		wg.Go(func() {
			for n := range 100 {
				id := broker.ID(fmt.Sprint("id-", w, "-", n))
				if _, err := db.Create(b.Context(), broker.Credential{Summary: broker.Summary{ID: id, Name: "name"}}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	closeStore(b, db)
	for b.Loop() {
		db, err := Open(Config{Dir: dir, Key: testKey(b, 7)})
		if err != nil {
			b.Fatal(err)
		}
		for _, err := range db.Summaries(b.Context()) {
			if err != nil {
				b.Fatal(err)
			}
		}
		closeStore(b, db)
	}
}
