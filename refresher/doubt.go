package refresher

import (
	"time"

	"github.com/invectd/invectd/broker"
)

// What is in doubt: a request went out with a refresh token, and its answer was
// never stored, since it did not come, made no sense, or the daemon died over it.
// Where refresh tokens rotate, that one may be spent and its successor lost.
//
// It is sent again all the same, at once after a crash and with the usual pauses
// after an answer that did not come, whether or not the provider declares a grace
// window. RFC 9700, section 4.14.2, has a provider that sees a spent one again
// end the grant, so the price is known: if it was spent, what is left of the
// living access token may end with it, minutes at most, since renewing begins
// that shortly before its end. The grant itself is lost either way, for nobody
// has the successor. Not to ask would cost more: if it was not spent, because the
// request never got through, or the provider does not rotate, or has a window
// that it does not tell of, then a person would have to consent again for
// nothing. One outage of ten minutes in which connections time out would do that
// to everybody.
//
// Whatever comes of it says so: see reason.

// hurryWithin is the longest grace window that needs haste: the usual pauses fit
// several attempts into longer ones.
const hurryWithin = 30 * time.Minute

// minAsk is the least time that a provider has to answer, however short its
// window.
const minAsk = 5 * time.Second

// shortGrace returns how long a spent refresh token may be sent again, where that
// is so short that it matters when; else zero.
func shortGrace(p broker.RefreshPolicy) time.Duration {
	if grace := time.Duration(p.ReuseGrace); grace <= hurryWithin {
		return grace
	}
	return 0
}

// askFor returns how long to wait for an answer: with a short window, not so long
// that none of it is left to ask again.
func askFor(timeout, grace time.Duration) time.Duration {
	if grace <= 0 {
		return timeout
	}
	return min(timeout, max(grace/2, minAsk))
}

// inDoubt reports whether the refresh token of c may be spent and its successor
// lost, by what is stored of it.
func inDoubt(c *broker.Credential, p broker.RefreshPolicy) bool {
	return interrupted(c.Summary) && mayBeSpent(c, p)
}

// mayBeSpent reports whether a refresh of c spends anything.
func mayBeSpent(c *broker.Credential, p broker.RefreshPolicy) bool {
	return p.Rotation != "never" && !grantOf(c).refreshToken.Empty()
}

// hurried returns when to try again instead of at retryAt, where a refresh token
// that may be spent since doubtAt is taken once more until the end of a window:
// while half of what is left of it is still to come.
func hurried(retryAt, doubtAt, now time.Time, grace time.Duration) time.Time {
	left := doubtAt.Add(grace).Sub(now)
	if grace <= 0 || left <= 0 {
		return retryAt
	}
	return earlier(retryAt, now.Add(max(left/2, min(left, time.Second))))
}
