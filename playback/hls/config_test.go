package hls

import (
	"math"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

func TestRoundRate(t *testing.T) {
	for _, c := range []struct{ measured, want float64 }{
		{25, 25},
		{25.024, 25},
		{24.9876, 25},
		{29.97, 30 / 1.001},
		{29.975, 30 / 1.001},
		{29.99, 30},
		{23.976, 24 / 1.001},
		{59.94, 60 / 1.001},
		{12.5, 12.5},
		{0.2, 0.2},
		{7.4, 7.4},
	} {
		if got := roundRate(c.measured); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%v: got %v, want %v", c.measured, got, c.want)
		}
	}
}

func TestPeakIsThatOfSegmentsAsLongAsTheTarget(t *testing.T) {
	second := int64(time.Second)
	for _, c := range []struct {
		name          string
		cells         []cell
		peak, average int64
	}{
		{"alike", []cell{{duration: 2 * second, bytes: 250_000}, {duration: 2 * second, bytes: 250_000}}, 1_000_000, 1_000_000},
		{"one is larger", []cell{{duration: 2 * second, bytes: 250_000}, {duration: 2 * second, bytes: 500_000}}, 2_000_000, 1_500_000},
		{"a short one alone does not count", []cell{{duration: 2 * second, bytes: 250_000}, {duration: second / 2, bytes: 250_000}, {duration: 2 * second, bytes: 250_000}}, 1_600_000, 1_333_334},
		{"silence between", []cell{{duration: 2 * second, bytes: 250_000}, {duration: 2 * second, config: missing}, {duration: 2 * second, bytes: 250_000}}, 1_000_000, 1_000_000},
		{"only a short one", []cell{{duration: second / 2, bytes: 62_500}}, 1_000_000, 1_000_000},
	} {
		tl := timeline{target: 2}
		got := tl.measure(&line{kind: fragments.KindVideo, cells: c.cells}, missing)
		if got.peak != c.peak || got.average != c.average {
			t.Errorf("%s: peak %d, average %d; want %d and %d", c.name, got.peak, got.average, c.peak, c.average)
		}
	}
}

func TestNanosAndTicks(t *testing.T) {
	century := int64(100 * 365 * 24 * 3600)
	for _, c := range []struct {
		ticks int64
		scale uint32
		want  int64
	}{
		{90_000, 90_000, 1e9},
		{1, 90_000, 11_111},
		{-90_000, 90_000, -1e9},
		{century * 90_000, 90_000, century * 1e9},
		{5, 0, 0},
	} {
		if got := nanos(c.ticks, c.scale); got != c.want {
			t.Errorf("%d at %d: %d ns, want %d", c.ticks, c.scale, got, c.want)
		}
	}
	for v := range int64(2000) {
		if got := ticks(nanos(v, 44_100), 44_100); got != v {
			t.Fatalf("%d ticks become %d", v, got)
		}
	}
}
