package dedup

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

const fieldManager = hold.Manager

// idHash is the first half of the SHA-256 of an id. Collisions do not occur in practice, and its length does not depend on the sender.
type idHash [16]byte

func hashEventID(id string) idHash {
	sum := sha256.Sum256([]byte(id))
	return idHash(sum[:16])
}

// idExpiries maps ids to their expiry. An expired id is forgotten.
type idExpiries map[idHash]time.Time

// encodeExpiryLines returns a line for each id: the hash in base64, a space, the expiry in seconds since 1970. The lines are sorted, so that a
// diff of two versions shows the added ids.
func (s idExpiries) encodeExpiryLines() string {
	var b strings.Builder
	b.Grow(len(s) * 34)
	for _, k := range s.sortIDHashes() {
		b.WriteString(base64.RawURLEncoding.EncodeToString(k[:]))
		b.WriteByte(' ')
		b.WriteString(strconv.FormatInt(s[k].Unix(), 10))
		b.WriteByte('\n')
	}
	return b.String()
}

// sortIDHashes returns the ids in the order of their expiry.
func (s idExpiries) sortIDHashes() []idHash {
	return slices.SortedFunc(maps.Keys(s), func(a, b idHash) int {
		return cmp.Or(s[a].Compare(s[b]), slices.Compare(a[:], b[:]))
	})
}

// mergeExpiryLines adds the ids in text, and returns the number of invalid lines. The later of two expiries of an id wins.
func (s idExpiries) mergeExpiryLines(text string) (bad int) {
	for line := range strings.Lines(text) {
		k, until, ok := parseEventExpiryLine(strings.TrimSuffix(line, "\n"))
		switch {
		case !ok:
			bad++
		case until.After(s[k]):
			s[k] = until
		}
	}
	return bad
}

func parseEventExpiryLine(line string) (k idHash, until time.Time, ok bool) {
	first, second, _ := strings.Cut(line, " ")
	sum, err := base64.RawURLEncoding.Strict().DecodeString(first)
	if err != nil || len(sum) != len(k) {
		return k, until, false
	}
	seconds, err := strconv.ParseInt(second, 10, 64)
	if err != nil || seconds < 0 || seconds > 1<<40 {
		return k, until, false
	}
	return idHash(sum), time.Unix(seconds, 0), true
}

// forgetExpiredIDs forgets expired ids, and the ids above maxIDs that expire first. It returns the number of the latter.
func (s idExpiries) forgetExpiredIDs(now time.Time, maxIDs int) (forgotten int) {
	maps.DeleteFunc(s, func(_ idHash, until time.Time) bool { return !now.Before(until) })
	if len(s) <= maxIDs {
		return 0
	}
	early := s.sortIDHashes()[:len(s)-maxIDs]
	for _, k := range early {
		delete(s, k)
	}
	return len(early)
}
