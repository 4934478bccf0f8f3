package refresher

import (
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

func TestLeadOf(t *testing.T) {
	for _, test := range []struct{ given, lifetime, want time.Duration }{
		{0, time.Hour, 12 * time.Minute},
		{0, 24 * time.Hour, 15 * time.Minute},
		{0, 5 * time.Minute, time.Minute},
		{0, 4 * time.Minute, time.Minute},
		{0, 2 * time.Minute, time.Minute},
		{0, 90 * time.Second, 45 * time.Second},
		{0, 2 * time.Second, time.Second},
		{0, 0, 0},
		{0, -time.Hour, 0},
		{2 * time.Hour, 24 * time.Hour, 2 * time.Hour},
		{2 * time.Hour, time.Hour, 30 * time.Minute},
		{time.Second, time.Hour, time.Second},
		{time.Duration(broker.Unlimited), time.Hour, 30 * time.Minute},
	} {
		if got := leadOf(test.given, test.lifetime); got != test.want {
			t.Errorf("leadOf(%v, %v) = %v, want %v", test.given, test.lifetime, got, test.want)
		}
	}
}

func TestNextRefresh(t *testing.T) {
	issued := time.Date(2026, 5, 6, 7, 0, 0, 0, time.UTC)
	now := issued.Add(time.Minute)
	good := broker.Summary{
		ID: "id", IsActive: true, Renewable: true, Status: broker.StatusActive, Generation: 3,
		IssuedAt: issued, ExpiresAt: issued.Add(time.Hour),
	}
	hour := ahead(good.ExpiresAt, 12*time.Minute, "id")
	for name, test := range map[string]struct {
		change func(*broker.Summary)
		policy broker.RefreshPolicy
		want   time.Time
	}{
		"active":         {func(*broker.Summary) {}, broker.RefreshPolicy{}, hour},
		"own lead":       {func(*broker.Summary) {}, broker.RefreshPolicy{Lead: broker.Duration(5 * time.Minute)}, ahead(good.ExpiresAt, 5*time.Minute, "id")},
		"switched off":   {func(s *broker.Summary) { s.IsActive = false }, broker.RefreshPolicy{}, time.Time{}},
		"not renewable":  {func(s *broker.Summary) { s.Renewable = false }, broker.RefreshPolicy{}, time.Time{}},
		"refused":        {func(s *broker.Summary) { s.Status = broker.StatusReauth }, broker.RefreshPolicy{}, time.Time{}},
		"never ends":     {func(s *broker.Summary) { s.ExpiresAt = time.Time{} }, broker.RefreshPolicy{}, time.Time{}},
		"failed":         {func(s *broker.Summary) { s.RetryAt = now.Add(7) }, broker.RefreshPolicy{}, now.Add(7)},
		"pending":        {func(s *broker.Summary) { s.Status = broker.StatusPending }, broker.RefreshPolicy{}, now},
		"pending failed": {func(s *broker.Summary) { s.Status, s.RetryAt = broker.StatusPending, now.Add(7) }, broker.RefreshPolicy{}, now.Add(7)},
		"interrupted":    {func(s *broker.Summary) { s.Intent, s.RetryAt = &broker.Intent{Generation: 3}, now.Add(7) }, broker.RefreshPolicy{}, now},
		"old intent":     {func(s *broker.Summary) { s.Intent = &broker.Intent{Generation: 2} }, broker.RefreshPolicy{}, hour},
		"born expired":   {func(s *broker.Summary) { s.ExpiresAt = issued.Add(-time.Hour) }, broker.RefreshPolicy{}, issued.Add(minAge)},
		"idle": {
			func(s *broker.Summary) { s.ExpiresAt = time.Time{} }, broker.RefreshPolicy{IdleLifetime: broker.Duration(40 * 24 * time.Hour)},
			ahead(issued.Add(40*24*time.Hour), 10*24*time.Hour, "id"),
		},
		"lazy":                                {func(s *broker.Summary) { s.Lazy = true }, broker.RefreshPolicy{}, time.Time{}},
		"lazy, pending":                       {func(s *broker.Summary) { s.Lazy, s.Status, s.IssuedAt = true, broker.StatusPending, time.Time{} }, broker.RefreshPolicy{IdleLifetime: broker.Duration(time.Hour)}, time.Time{}},
		"lazy, failed":                        {func(s *broker.Summary) { s.Lazy, s.RetryAt = true, now.Add(7) }, broker.RefreshPolicy{}, time.Time{}},
		"lazy, idle":                          {func(s *broker.Summary) { s.Lazy = true }, broker.RefreshPolicy{IdleLifetime: broker.Duration(time.Hour)}, ahead(issued.Add(time.Hour), 15*time.Minute, "id")},
		"lazy, idle, late":                    {func(s *broker.Summary) { s.Lazy, s.RetryAt = true, now.Add(time.Hour) }, broker.RefreshPolicy{IdleLifetime: broker.Duration(time.Hour)}, now.Add(time.Hour)},
		"retry of a clock that was set back":  {func(s *broker.Summary) { s.RetryAt = now.Add(24 * time.Hour) }, broker.RefreshPolicy{}, now},
		"issued by a clock that was set back": {func(s *broker.Summary) { s.IssuedAt, s.ExpiresAt = now.Add(5*time.Hour), now.Add(6*time.Hour) }, broker.RefreshPolicy{}, ahead(now.Add(5*time.Minute), 4*time.Minute, "id")},
		"lazy, cut off":                       {func(s *broker.Summary) { s.Lazy, s.Intent = true, &broker.Intent{Generation: 3} }, broker.RefreshPolicy{}, now},
		"ends before idle":                    {func(*broker.Summary) {}, broker.RefreshPolicy{IdleLifetime: broker.Duration(40 * 24 * time.Hour)}, hour},
		"never idle":                          {func(*broker.Summary) {}, broker.RefreshPolicy{IdleLifetime: broker.Unlimited}, hour},
	} {
		t.Run(name, func(t *testing.T) {
			s := good
			test.change(&s)
			if got := nextRefresh(s, test.policy, now); !got.Equal(test.want) {
				t.Errorf("nextRefresh = %v, want %v", got, test.want)
			}
		})
	}
}

func TestSpreadIsStableAndOnlyEarlier(t *testing.T) {
	end := time.Date(2026, 5, 6, 8, 0, 0, 0, time.UTC)
	lead := 12 * time.Minute
	perMinute := map[time.Time]int{}
	for range 10_000 {
		id := broker.NewID()
		at := ahead(end, lead, id)
		if at != ahead(end, lead, id) {
			t.Fatalf("ahead(%s) differs between calls", id)
		}
		if early := end.Sub(at); early < lead || early > lead+lead/4 {
			t.Fatalf("ahead(%s) is %v before the end, want between %v and %v", id, early, lead, lead+lead/4)
		}
		perMinute[at.Truncate(time.Minute)]++
	}
	for minute, count := range perMinute {
		if count > 5000 {
			t.Errorf("%d of 10000 come back in the minute of %v", count, minute)
		}
	}
	if len(perMinute) < 3 {
		t.Errorf("all come back within %d minutes, want 3", len(perMinute))
	}
}
