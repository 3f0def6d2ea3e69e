// The times of samples that come with results: for each selector of the expression, by the labels that samples and results share.

package remote

import (
	"slices"
	"strconv"
	"time"
)

// selectorTimes are the times of newest samples, by selector.
type selectorTimes []timesOfSelector

type timesOfSelector struct {
	number int
	newest newestSampleTimes
}

// addSelectorTime adds a time. A single selector has no number.
func (t selectorTimes) addSelectorTime(selector string, l map[string]string, at time.Time) selectorTimes {
	number, _ := strconv.Atoi(selector)
	i := slices.IndexFunc(t, func(s timesOfSelector) bool { return s.number == number })
	if i < 0 {
		i = len(t)
		t = append(t, timesOfSelector{number: number})
	}
	t[i].newest = t[i].newest.addSampleTime(l, at)
	return t
}

// lookupQueryResultTime returns the oldest of the selectors' times for a result with the labels. It is zero if a set of needed
// selectors has none.
func (t selectorTimes) lookupQueryResultTime(l map[string]string, needed [][]int) time.Time {
	var oldest time.Time
	found := make([]int, 0, 8)
	for _, s := range t {
		if at := s.newest.lookupSampleTime(l); !at.IsZero() {
			found = append(found, s.number)
			oldest = chooseEarlierResultTime(oldest, at)
		}
	}
	for _, set := range needed {
		if !slices.ContainsFunc(set, func(number int) bool { return slices.Contains(found, number) }) {
			return time.Time{}
		}
	}
	return oldest
}

// newestSampleTimes are times of newest samples, by the labels that they share with results: an entry for each set of label
// names, the largest set first.
type newestSampleTimes []*timesByLabels

// timesByLabels are times by the values of labelNames.
type timesByLabels struct {
	labelNames []string // sorted
	times      map[string]time.Time
}

// buildSampleTimeKey returns the key of the label values; false if a label is missing.
func (t *timesByLabels) buildSampleTimeKey(l map[string]string) (string, bool) {
	if len(t.labelNames) == 1 {
		v, ok := l[t.labelNames[0]]
		return v, ok
	}
	var key []byte
	for _, name := range t.labelNames {
		v, ok := l[name]
		if !ok {
			return "", false
		}
		key = append(append(key, v...), 0xff) // no label value contains it: they are UTF-8
	}
	return string(key), true
}

// addSampleTime adds a time under all labels of its series.
func (n newestSampleTimes) addSampleTime(l map[string]string, at time.Time) newestSampleTimes {
	i := slices.IndexFunc(n, func(t *timesByLabels) bool { return t.hasExactTimeLabels(l) })
	if i < 0 {
		t := &timesByLabels{times: map[string]time.Time{}}
		for name := range l {
			t.labelNames = append(t.labelNames, name)
		}
		slices.Sort(t.labelNames)
		i, _ = slices.BinarySearchFunc(n, t, func(a, b *timesByLabels) int { return len(b.labelNames) - len(a.labelNames) })
		n = slices.Insert(n, i, t)
	}
	key, _ := n[i].buildSampleTimeKey(l)
	if at.After(n[i].times[key]) {
		n[i].times[key] = at
	}
	return n
}

func (t *timesByLabels) hasExactTimeLabels(l map[string]string) bool {
	if len(l) != len(t.labelNames) {
		return false
	}
	_, ok := t.buildSampleTimeKey(l)
	return ok
}

// lookupSampleTime returns the time for a result: of the series with the most of its labels, and no others.
func (n newestSampleTimes) lookupSampleTime(l map[string]string) time.Time {
	var at time.Time
	matched := 0 // labels of the best series so far
	for _, t := range n {
		if len(t.labelNames) < matched {
			break
		}
		if key, ok := t.buildSampleTimeKey(l); ok {
			if found, ok := t.times[key]; ok {
				matched = len(t.labelNames)
				at = chooseLaterResultTime(at, found)
			}
		}
	}
	return at
}

func chooseLaterResultTime(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
