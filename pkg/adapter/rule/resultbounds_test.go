package rule

import (
	"strings"
	"testing"
)

func TestExpressionsWithoutNumber(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		`(x > 5) < 3`:                                    "more than 5",
		`3 > (x > 5)`:                                    "more than 5",
		`(x > 5) <= 5`:                                   "more than 5",
		`x == 5 == 6`:                                    "are 5",
		`(x == 5) != 5`:                                  "are 5",
		`x >= 5 and x < 3`:                               "satisfies both",
		`x > 5 and y and x < 3`:                          "satisfies both",
		`x > 5 unless x > 3`:                             "every value of the left",
		`x unless on () vector(1)`:                       "always has a value",
		`sum(x) unless vector(1)`:                        "always has a value",
		`x unless on () (y or on () vector(0))`:          "always has a value",
		`x unless on () absent(x > 1 < 0)`:               "always has a value",
		`x and on () (vector(1) > 2)`:                    "are 1",
		`x * on () group_left () (vector(1) > 2)`:        "are 1",
		`sum by (pod) (x) and on () absent(vector(1))`:   "always has a value",
		`x and on () absent(x)`:                          "only without",
		`sum by (namespace, pod) (x) * on () absent(x)`:  "only without",
		`count by (namespace, pod) (x) == 0`:             "at least 1",
		`count by (namespace, pod) (x) < 1`:              "at least 1",
		`absent(x) == 0`:                                 "are 1",
		`rate(x[1m]) < 0`:                                "at least 0",
		`sum by (namespace, pod) (rate(x[1m])) * 60 < 0`: "at least 0",
		`clamp_max(x, 10) > 20`:                          "at most 10",
		`clamp(x, 1, 2) == 3`:                            "from 1 to 2",
		`(x > bool 5) > 1`:                               "from 0 to 1",
		`hour(x) > 23`:                                   "from 0 to 23",
		`max_over_time((x > 5 < 3)[1m:5s])`:              "more than 5",
		`sum(x > 5 < 3) or (y > 5 < 3)`:                  "more than 5",
		`label_replace(x > 5, "a", "b", "c", "d") < 5`:   "more than 5",
		`clamp_max(x, -5)`:                               "negative",
		`sum(y) / (count(x) - count(x))`:                 "division by 0",
		`sum by (pod) (x) > 0 and sum by (pod) (x) < 0`:  "satisfies both",
		`rate(x[1m]) > 9 and rate(x[1m]) < 5`:            "satisfies both",
		`sum by (pod) (rate(x[1m])) unless sum by (pod) (rate(x[1m])) >= 0`: "every value of the left",
		`x and y unless y`:          "same right side",
		`x * scalar(vector(1) > 2)`: "always NaN",
		`x > 0 < 0`:                 "more than 0",
		`x < 0.1 > 5`:               "less than 0.1",
		`ln(x < 0)`:                 "no number",
		`(x < -1) * 2`:              "negative",
	} {
		tree, err := parseRuleExpr(query)
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		if err := tree.findNoNumberReason(false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", query, err, want)
		}
	}
}

func TestExpressionsWithSomeNumber(t *testing.T) {
	t.Parallel()
	for _, query := range []string{
		`x`, `(x > 5) < 6`, `x > 5 < 5.1`, `x >= 5 <= 5`, `x != 5 != 6`, `(x > 5) + 0 < 8`,
		`x > 5 and y < 3`, `x > 5 and x{a="b"} < 3`, `{__name__=~"x|y"} > 5 and {__name__=~"x|y"} < 3`, `x > 5 and on (pod) x < 3`,
		`x > 5 or x < 3`, `x unless x > 5`, `x > 7 unless ((x > 5) and on () y)`, `x > 5 unless (x > 3) != 7`, `x > 5 unless x > scalar(y)`,
		`x > 5 unless on () (vector(1) > 2)`, `x unless on () absent(y)`, `x unless vector(1)`, `x unless on () (vector(1) unless y)`,
		`x or on () vector(0)`, `x or (y > 5 < 3)`, `x unless on () (y > 5 < 3)`,
		`x and on () absent(y)`, `x or on () absent(x)`, `rate(x[1m]) and on () absent(x)`, `x and on () absent(x and y)`,
		`x and on () absent(x offset 1m)`, `x and on () absent(max_over_time(x[5m:1m] offset 1m))`,
		`count(x) == 1`, `count(x) - 1 == 0`, `sum(x) < 0`, `sum(x > 5) > 100`, `min(x > 5) > 6`, `avg(x >= 5) < 5`, `absent(x) == 1`,
		`delta(x[1m]) > 1`, `deriv(x[1m]) > 1`, `time() - x > 5`, `x - time() > 5`, `-x`, `-rate(x[1m])`, `rate(x[1m]) <= 0`, `clamp_max(x, 0)`,
		`x < 0.1 > -0.1`, `abs(x < -5)`, `(x < -5) * -1 > 5`, `1 / (x > 5) < 0.1`, `100 - (x > 5) < 0`, `x / 0.1 > 5`, `(x > 5) % 5 < 1`,
		`vector(time()) > 5 and on () x`, `x == x`, `clamp_min(x, scalar(y)) < 0`, `quantile(0.5, x > 5) < 5`,
		`hour() > 22 and on () x`, `x * (hour() > bool 22)`, `day_of_week() == 0 and on () x`, `x and on () (hour() > 8 < 18)`,
		`histogram_quantile(0.9, x) > 1`, `ceil(x > 0.5) > 1`, `x > bool 5 > 0`, `sgn(x) < 0 or y`, `ln(x <= 0)`, `sqrt(x < 1)`, `count(ln(x < 0))`, `absent(ln(x < 0))`, `x unless on () ln(y < 0)`, `x or ln(y < 0)`,
		`x != scalar(y > 5 < 3)`, `x > bool scalar(y > 5 < 3)`, `x and y unless on (pod) y`, `x and y unless z`, `topk(1, x) > 5 and topk(1, x) < 3`,
		`sum without (pod) (x) > 5 and sum without (pod) (x) < 3`, `sum by (__name__) (x) > 5 and sum by (__name__) (x) < 3`,
		`rate({__name__=~"x|y"}[1m]) > 5 and rate({__name__=~"x|y"}[1m]) < 3`, `rate(x[1m]) > 5 and rate(x[2m]) < 3`, `x - x`, `y / (x - on (pod) x)`,
		`y / (x - x offset 1m)`, `y / (rate(x[1m]) + 0)`,
	} {
		tree, err := parseRuleExpr(query)
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		if err := tree.findNoNumberReason(false); err != nil {
			t.Errorf("%s: error %v, want none", query, err)
		}
	}
}
