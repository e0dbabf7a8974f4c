package metrics

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Kind is the type of a family of samples.
type Kind string

// The kinds of families.
const (
	Gauge     Kind = "gauge"
	Counter   Kind = "counter"
	Histogram Kind = "histogram"
)

// Label is one label of a sample.
type Label struct{ Name, Value string }

// Writer builds the text. The samples of a family follow its Family call.
type Writer struct {
	b      []byte
	family string
}

// Family begins a family. Families without samples are fine; one name is begun
// once.
func (w *Writer) Family(name string, kind Kind, help string) {
	w.family = name
	w.b = append(w.b, "# HELP "...)
	w.b = append(w.b, name...)
	w.b = append(w.b, ' ')
	w.b = append(w.b, helpEscape.Replace(help)...)
	w.b = append(w.b, "\n# TYPE "...)
	w.b = append(w.b, name...)
	w.b = append(w.b, ' ')
	w.b = append(w.b, kind...)
	w.b = append(w.b, '\n')
}

var (
	helpEscape  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelEscape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// Sample adds a sample to the family.
func (w *Writer) Sample(v float64, labels ...Label) { w.sample("", v, labels) }

// One begins a family of one sample.
func (w *Writer) One(name string, kind Kind, help string, v float64) {
	w.Family(name, kind, help)
	w.Sample(v)
}

// Durations adds a histogram: how many took up to each bound (not cumulative;
// the last counter, one more than the bounds, is for what took longer), and the
// sum of all.
func (w *Writer) Durations(bounds []time.Duration, counts []uint64, sum time.Duration, labels ...Label) {
	bucket := append(labels[:len(labels):len(labels)], Label{Name: "le"})
	le := &bucket[len(bucket)-1].Value
	var total uint64
	for i, n := range counts {
		total += n
		*le = "+Inf"
		if i < len(bounds) {
			*le = formatFloat(bounds[i].Seconds())
		}
		w.sample("_bucket", float64(total), bucket)
	}
	w.sample("_sum", sum.Seconds(), labels)
	w.sample("_count", float64(total), labels)
}

// Bytes returns the text.
func (w *Writer) Bytes() []byte { return w.b }

func (w *Writer) sample(suffix string, v float64, labels []Label) {
	w.b = append(w.b, w.family...)
	w.b = append(w.b, suffix...)
	for i, l := range labels {
		sep := byte(',')
		if i == 0 {
			sep = '{'
		}
		w.b = append(w.b, sep)
		w.b = append(w.b, l.Name...)
		w.b = append(w.b, '=', '"')
		w.b = append(w.b, labelEscape.Replace(strings.ToValidUTF8(l.Value, "\uFFFD"))...)
		w.b = append(w.b, '"')
	}
	if len(labels) > 0 {
		w.b = append(w.b, '}')
	}
	w.b = append(w.b, ' ')
	w.b = append(w.b, formatFloat(v)...)
	w.b = append(w.b, '\n')
}

func formatFloat(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "+Inf"
	case math.IsInf(v, -1):
		return "-Inf"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
