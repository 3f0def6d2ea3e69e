// Whether any text satisfies several regular expressions at once, decided exactly.

package rule

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"
)

// maxRegexpSearchSteps bounds the visited instructions of a search: some 0.2 s. Expressions of rules need a few hundred.
const maxRegexpSearchSteps = 200_000

// matchersNeverAgree reports whether no text matches all of the expressions in must and none in mustNot. Each stands for a
// whole text. It returns false if an expression is invalid, or too large for an answer.
func matchersNeverAgree(must, mustNot []string) bool {
	_, found, complete := searchTextForMatchers(must, mustNot)
	return complete && !found
}

// ExcludeEachOther reports whether no value of a label satisfies all matchers. Their names have no meaning here. A value also has
// to match all further expressions.
func ExcludeEachOther(matchers []*labels.Matcher, further ...string) bool {
	if values, few := listMatchedValues(matchers); few {
		if excluded, ok := excludeMatchedValues(values, matchers, further); ok {
			return excluded
		}
	}
	must, mustNot := listMatchedRegexps(matchers)
	return matchersNeverAgree(append(must, further...), mustNot)
}

// listMatchedRegexps returns expressions that a text has to match, and must not match, to satisfy all matchers.
func listMatchedRegexps(matchers []*labels.Matcher) (must, mustNot []string) {
	for _, m := range matchers {
		switch m.Type {
		case labels.MatchEqual:
			must = append(must, regexp.QuoteMeta(m.Value))
		case labels.MatchNotEqual:
			mustNot = append(mustNot, regexp.QuoteMeta(m.Value))
		case labels.MatchRegexp:
			must = append(must, "(?s:"+m.Value+")")
		case labels.MatchNotRegexp:
			mustNot = append(mustNot, "(?s:"+m.Value+")")
		}
	}
	return must, mustNot
}

// listMatchedValues returns the only values that one of the matchers admits; few is false if each admits others. Most matchers are of one
// value, such as the name of a metric, and every name that an autoscaler or a reader asks for comes here.
func listMatchedValues(matchers []*labels.Matcher) (values []string, few bool) {
	for _, m := range matchers {
		switch {
		case m.Type == labels.MatchEqual:
			return []string{m.Value}, true
		case m.Type == labels.MatchRegexp && len(m.SetMatches()) > 0:
			values, few = m.SetMatches(), true
		}
	}
	return values, few
}

// excludeMatchedValues reports whether no value satisfies all matchers and expressions; ok is false if an expression is invalid.
func excludeMatchedValues(values []string, matchers []*labels.Matcher, further []string) (excluded, ok bool) {
	expressions := make([]*regexp.Regexp, len(further))
	for i, text := range further {
		var err error
		if expressions[i], err = regexp.Compile("^(?:" + text + ")$"); err != nil {
			return false, false
		}
	}
	return !slices.ContainsFunc(values, func(value string) bool {
		rejects := func(m *labels.Matcher) bool { return !m.Matches(value) }
		misses := func(re *regexp.Regexp) bool { return !re.MatchString(value) }
		return !slices.ContainsFunc(matchers, rejects) && !slices.ContainsFunc(expressions, misses)
	}), true
}

// regexpSearch runs the automata of several expressions side by side.
type regexpSearch struct {
	programs []*syntax.Prog
	must     int // the first programs must match, the others must not
	runes    []rune
	steps    int
}

// regexpSearchState is where all programs are after a text. before is the text's last character, or -1.
type regexpSearchState struct {
	counters [][]uint32
	before   rune
	text     string
}

// searchTextForMatchers returns a shortest text that matches all of must and none of mustNot. It is complete unless the search gave up.
func searchTextForMatchers(must, mustNot []string) (text string, found, complete bool) {
	s := regexpSearch{must: len(must)}
	first := regexpSearchState{before: -1}
	for _, expr := range slices.Concat(must, mustNot) {
		re, err := syntax.Parse("^(?:"+expr+")$", syntax.Perl)
		if err != nil {
			return "", false, false
		}
		program, err := syntax.Compile(re.Simplify())
		if err != nil {
			return "", false, false
		}
		s.programs = append(s.programs, program)
		first.counters = append(first.counters, []uint32{uint32(program.Start)})
	}
	s.runes = representativeRunesOfMatchers(s.programs)
	seen, queue := map[string]bool{}, []regexpSearchState{first}
	for len(queue) > 0 {
		state := queue[0]
		queue = queue[1:]
		if s.matcherRegexpsAcceptEnd(state) {
			return state.text, true, true
		}
		for _, r := range s.runes {
			next, alive := s.advanceMatcherRegexps(state, r)
			if key := next.matcherSearchKey(); alive && !seen[key] {
				seen[key] = true
				queue = append(queue, next)
			}
			if s.steps > maxRegexpSearchSteps {
				return "", false, false
			}
		}
	}
	return "", false, true
}

// matcherRegexpsAcceptEnd reports whether a text that ends here matches as required.
func (s *regexpSearch) matcherRegexpsAcceptEnd(state regexpSearchState) bool {
	for i, program := range s.programs {
		reached := s.closeMatcherCounters(program, state.counters[i], state.before, -1)
		matches := slices.ContainsFunc(reached, func(pc uint32) bool { return program.Inst[pc].Op == syntax.InstMatch })
		if matches != (i < s.must) {
			return false
		}
	}
	return true
}

// advanceMatcherRegexps returns the state after one more character; alive is false if no longer text can match as required.
func (s *regexpSearch) advanceMatcherRegexps(state regexpSearchState, r rune) (next regexpSearchState, alive bool) {
	next = regexpSearchState{before: r, text: state.text + string(r)}
	for i, program := range s.programs {
		var after []uint32
		for _, pc := range s.closeMatcherCounters(program, state.counters[i], state.before, r) {
			if inst := &program.Inst[pc]; inst.Op != syntax.InstMatch && inst.MatchRune(r) {
				after = append(after, inst.Out)
			}
		}
		if len(after) == 0 && i < s.must {
			return next, false
		}
		slices.Sort(after)
		next.counters = append(next.counters, slices.Compact(after))
	}
	return next, true
}

// closeMatcherCounters returns the instructions for characters, and matches, that are reached between two characters; -1 stands for
// the beginning and the end of the text.
func (s *regexpSearch) closeMatcherCounters(program *syntax.Prog, from []uint32, before, after rune) []uint32 {
	seen, stack, reached := map[uint32]bool{}, slices.Clone(from), []uint32(nil)
	conditions := syntax.EmptyOpContext(before, after)
	for len(stack) > 0 {
		pc := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[pc] {
			continue
		}
		seen[pc] = true
		s.steps++
		switch inst := &program.Inst[pc]; inst.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			stack = append(stack, inst.Out, inst.Arg)
		case syntax.InstCapture, syntax.InstNop:
			stack = append(stack, inst.Out)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(inst.Arg)&^conditions == 0 {
				stack = append(stack, inst.Out)
			}
		case syntax.InstFail:
		default:
			reached = append(reached, pc)
		}
	}
	return reached
}

// matcherSearchKey returns a text that two states have in common only if the same texts can follow. Of the last character only its kind counts,
// for assertions such as \b.
func (state regexpSearchState) matcherSearchKey() string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(int(syntax.EmptyOpContext(state.before, 'x'))))
	for _, counters := range state.counters {
		b.WriteByte('|')
		for _, pc := range counters {
			b.WriteString(strconv.Itoa(int(pc)))
			b.WriteByte(',')
		}
	}
	return b.String()
}

// representativeRunesOfMatchers returns a character from each class of characters that no program tells apart. Letters come
// first, so that an example looks like a name.
func representativeRunesOfMatchers(programs []*syntax.Prog) []rune {
	borders := []rune{0, '\n', '\n' + 1, '0', '9' + 1, 'A', 'Z' + 1, '_', '_' + 1, 'a', 'z' + 1}
	for _, program := range programs {
		for i := range program.Inst {
			inst := &program.Inst[i]
			for j, r := range inst.Rune {
				switch {
				case len(inst.Rune) == 1:
					borders = append(borders, r, r+1)
					for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
						borders = append(borders, f, f+1)
					}
				case j%2 == 0:
					borders = append(borders, r)
				default:
					borders = append(borders, r+1)
				}
			}
		}
	}
	borders = slices.DeleteFunc(borders, func(r rune) bool { return !utf8.ValidRune(r) })
	slices.SortFunc(borders, func(a, b rune) int {
		if la, lb := isASCIILetter(a), isASCIILetter(b); la != lb {
			if la {
				return -1
			}
			return 1
		}
		return int(a - b)
	})
	return slices.Compact(borders)
}

func isASCIILetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }
