package timeline

import (
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestDocumentedPictures: the pictures in docs are as legible as those that are drawn today. Their points are of a real run, and stay.
func TestDocumentedPictures(t *testing.T) {
	t.Parallel()
	pictures, err := filepath.Glob("../../../docs/*.svg")
	if err != nil || len(pictures) < 2 {
		t.Fatalf("%d pictures in docs, error %v", len(pictures), err)
	}
	for _, name := range pictures {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(data), "\n")
		if head := "<style>" + style + "</style>\n" + paper + "\n"; !strings.HasPrefix(rest, head) {
			t.Errorf("%s: its second line does not begin with what WriteRuns gives:\n%s", name, head)
		}
	}
}

// TestContrast: in both themes each line and text stands out from the paper.
func TestContrast(t *testing.T) {
	t.Parallel()
	light, dark, _ := strings.Cut(style, "@media")
	for theme, rules := range map[string]string{"light": light, "dark": dark} {
		colors := themeColors(rules)
		for name, least := range map[string]float64{"text": 4.5, ".title": 4.5, ".offered": 3, ".served": 3, ".desired": 3, ".ready": 3} {
			if ratio := colorContrast(t, colors[name], colors[".paper"]); ratio < least {
				t.Errorf("%s: %s has a contrast of %.2f, below %g", theme, name, ratio, least)
			}
		}
	}
}

var colorRule = regexp.MustCompile(`(\.?[a-z]+)\{(?:[^}]*;)?(?:fill|stroke):#([0-9a-f]+)\}`)

func themeColors(rules string) map[string]string {
	colors := map[string]string{}
	for _, rule := range colorRule.FindAllStringSubmatch(rules, -1) {
		colors[rule[1]] = rule[2]
	}
	return colors
}

// colorContrast is WCAG's: (lighter + 0.05) / (darker + 0.05).
func colorContrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := colorLuminance(t, a), colorLuminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// colorLuminance is WCAG's relative luminance of a color of three or six hexadecimal digits.
func colorLuminance(t *testing.T, color string) float64 {
	t.Helper()
	if len(color) == 3 {
		color = string([]byte{color[0], color[0], color[1], color[1], color[2], color[2]})
	}
	rgb, err := strconv.ParseUint(color, 16, 32)
	if err != nil || len(color) != 6 {
		t.Fatalf("color %q: %v", color, err)
	}
	sum := 0.0
	for i, weight := range []float64{0.0722, 0.7152, 0.2126} {
		part := float64(rgb>>(8*i)&0xff) / 255
		if part <= 0.03928 {
			part /= 12.92
		} else {
			part = math.Pow((part+0.055)/1.055, 2.4)
		}
		sum += weight * part
	}
	return sum
}
