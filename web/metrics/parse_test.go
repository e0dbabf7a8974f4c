package metrics

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// parsed is one family as a strict reader of the exposition format sees it.
type parsed struct {
	kind, help string
	samples    map[string]float64 // by name{label="value",...}, as written
	labels     map[string]map[string]string
}

var (
	metricName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	labelName  = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
)

// parse reads text as Prometheus would, but forgives nothing: every sample
// belongs to the family begun last, families come once, series come once,
// counters end in _total and do not fall below zero, histograms are cumulative
// and end at +Inf, and every line is terminated.
func parse(text string) (map[string]*parsed, error) {
	families := map[string]*parsed{}
	var name string
	if !strings.HasSuffix(text, "\n") {
		return nil, fmt.Errorf("the last line is not terminated")
	}
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		bad := func(format string, args ...any) error {
			return fmt.Errorf("line %d: %s: %q", i+1, fmt.Sprintf(format, args...), line)
		}
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			n, help, ok := strings.Cut(rest, " ")
			if !ok || !metricName.MatchString(n) || help == "" {
				return nil, bad("help")
			}
			if families[n] != nil {
				return nil, bad("family comes twice")
			}
			name = n
			families[n] = &parsed{help: help, samples: map[string]float64{}, labels: map[string]map[string]string{}}
			continue
		}
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			n, kind, _ := strings.Cut(rest, " ")
			f := families[n]
			if n != name || f.kind != "" || len(f.samples) > 0 {
				return nil, bad("type out of place")
			}
			switch kind {
			case "gauge", "histogram":
			case "counter":
				if !strings.HasSuffix(n, "_total") {
					return nil, bad("a counter must end in _total")
				}
			default:
				return nil, bad("type")
			}
			f.kind = kind
			continue
		}
		series, labels, value, err := parseSample(line)
		if err != nil {
			return nil, bad("%v", err)
		}
		f := families[name]
		base, _, _ := strings.Cut(series, "{")
		if f == nil || f.kind == "" || !belongs(base, name, f.kind) {
			return nil, bad("sample out of place")
		}
		if _, twice := f.samples[series]; twice {
			return nil, bad("series comes twice")
		}
		if f.kind == "counter" && !(value >= 0) {
			return nil, bad("counter below zero")
		}
		f.samples[series], f.labels[series] = value, labels
	}
	for n, f := range families {
		if f.kind == "histogram" {
			if err := checkHistogram(n, f); err != nil {
				return nil, err
			}
		}
	}
	return families, nil
}

func belongs(base, family, kind string) bool {
	if kind != "histogram" {
		return base == family
	}
	return base == family+"_bucket" || base == family+"_sum" || base == family+"_count"
}

// parseSample reads name{labels} value.
func parseSample(line string) (series string, labels map[string]string, value float64, err error) {
	labels = map[string]string{}
	end := strings.IndexAny(line, "{ ")
	if end < 0 || !metricName.MatchString(line[:end]) {
		return "", nil, 0, fmt.Errorf("name")
	}
	rest := line[end:]
	if rest[0] == '{' {
		rest = rest[1:]
		for {
			n, after, ok := strings.Cut(rest, `="`)
			if !ok || !labelName.MatchString(n) || labels[n] != "" {
				return "", nil, 0, fmt.Errorf("label %q", n)
			}
			v, after, err := unquote(after)
			if err != nil {
				return "", nil, 0, err
			}
			labels[n] = v
			rest = after[1:]
			if after[0] == '}' {
				break
			}
			if after[0] != ',' {
				return "", nil, 0, fmt.Errorf("after label %q", n)
			}
		}
	}
	series = line[:len(line)-len(rest)]
	text, ok := strings.CutPrefix(rest, " ")
	if !ok || strings.ContainsAny(text, " \t") {
		return "", nil, 0, fmt.Errorf("value %q", text)
	}
	switch text {
	case "+Inf", "-Inf", "NaN":
	default:
		if strings.ContainsAny(text, "xXpP_iInN") {
			return "", nil, 0, fmt.Errorf("value %q", text)
		}
	}
	value, err = strconv.ParseFloat(text, 64)
	return series, labels, value, err
}

// unquote reads up to the closing quote and returns at least one byte after it.
func unquote(s string) (value, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			if i+1 >= len(s) {
				return "", "", fmt.Errorf("nothing after a label")
			}
			return b.String(), s[i+1:], nil
		case '\\':
			i++
			if i >= len(s) {
				return "", "", fmt.Errorf("unfinished escape")
			}
			c, ok := map[byte]byte{'\\': '\\', '"': '"', 'n': '\n'}[s[i]]
			if !ok {
				return "", "", fmt.Errorf("unknown escape")
			}
			b.WriteByte(c)
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", fmt.Errorf("unterminated label")
}

// checkHistogram sees to it that each series of buckets rises to +Inf, and that
// its last is its count. Buckets are in the order of their bounds by value.
func checkHistogram(name string, f *parsed) error {
	type row struct{ le, count float64 }
	rows := map[string][]row{}
	key := func(l map[string]string) string {
		var b strings.Builder
		for _, n := range []string{"stream", "operation"} {
			fmt.Fprintf(&b, "%s=%q ", n, l[n])
		}
		return b.String()
	}
	counts := map[string]float64{}
	for series, v := range f.samples {
		l := f.labels[series]
		switch base, _, _ := strings.Cut(series, "{"); base {
		case name + "_bucket":
			le, err := strconv.ParseFloat(l["le"], 64)
			if err != nil {
				return fmt.Errorf("%s: bound %q", series, l["le"])
			}
			rows[key(l)] = append(rows[key(l)], row{le, v})
		case name + "_count":
			counts[key(l)] = v
		}
	}
	for k, rs := range rows {
		top := row{math.Inf(-1), -1}
		for _, r := range rs {
			for _, o := range rs {
				if r.le < o.le && r.count > o.count {
					return fmt.Errorf("%s %s: not cumulative", name, k)
				}
			}
			if r.le > top.le {
				top = r
			}
		}
		if !math.IsInf(top.le, 1) || top.count != counts[k] {
			return fmt.Errorf("%s %s: ends at %v with %v of %v", name, k, top.le, top.count, counts[k])
		}
	}
	if len(rows) != len(counts) {
		return fmt.Errorf("%s: %d series of buckets, %d counts", name, len(rows), len(counts))
	}
	return nil
}
