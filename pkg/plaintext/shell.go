// Commands for a person to paste into a shell.

package plaintext

import (
	"regexp"
	"strings"
)

// shellWord is a text that a shell takes as one word, in any surroundings.
var shellWord = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@-]*$`)

// IsShellWord reports whether a text can be part of a command that a person will paste. Names that Kubernetes checks always can; owner
// references and names of metrics may hold anything.
func IsShellWord(text string) bool { return shellWord.MatchString(text) }

// QuoteShellWord returns a text as one word of a shell, without quotes where it needs none.
func QuoteShellWord(text string) string {
	if IsShellWord(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// JoinShellWords joins words, of which some may be flags, into a command line. A shell takes each as one word, with any characters.
func JoinShellWords(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		if quoted[i] = word; !IsShellWord(strings.TrimLeft(word, "-")) {
			quoted[i] = QuoteShellWord(word)
		}
	}
	return strings.Join(quoted, " ")
}
