package truth

// Generate: scenarios from a grammar and a seed.

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Generate returns the scenario of a seed.
func Generate(seed uint64) Scenario {
	return generateThin(seed)
}

func generateThin(seed uint64) Scenario {
	rng := rand.New(rand.NewPCG(seed, 7))
	text := fmt.Sprintf("run 60s\nservice web pods %d\ncounter web http_requests_total rate %d\nread total deployment web request_per_second\nread pods pods web request_per_second\n",
		1+rng.IntN(6), 20+rng.IntN(500))
	s, err := Parse("generated", text)
	if err != nil {
		panic(strings.TrimSpace(err.Error()))
	}
	return s
}
