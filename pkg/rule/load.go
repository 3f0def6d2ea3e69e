package rule

import (
	_ "embed"
	"fmt"

	"tachometer/pkg/config"
)

// Builtin is the configuration with the rules that apply where a configuration has none.
//
//go:embed builtin.yaml
var builtinYAML []byte

// Builtin is the built-in configuration, as a user would write it.
func Builtin() []byte { return builtinYAML }

// builtin are the built-in rules under the bounds of cfg.
func builtin(cfg *config.Config) []config.Rule {
	b, err := config.Load(builtinYAML)
	if err != nil {
		panic(fmt.Sprintf("built-in rules: %v", err)) // a bug of this repository, and tested
	}
	for i := range b.Rules {
		b.Rules[i].MaxAge = cfg.MaxAge
	}
	return b.Rules
}
