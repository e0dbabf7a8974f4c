package ingest

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// publisher is a camera with a clock of its own, seen over a network.
type publisher struct {
	rate  int64
	start time.Time     // true time of media time 0
	drift float64       // of its crystal: it counts 1+drift seconds per true second
	skew  time.Duration // of its wall clock
	base  uint32        // RTP time stamp of media time 0
}

// rtp is the time stamp of what is captured d (true time) after the start.
func (p publisher) rtp(d time.Duration) uint32 {
	return p.base + uint32(mulDiv(int64(float64(d)*(1+p.drift)), p.rate, int64(time.Second)))
}

// utc is what a true moment is by the publisher's wall clock. It is kept by NTP
// and does not drift, unlike the crystal that counts media time.
func (p publisher) utc(d time.Duration) time.Time { return p.start.Add(d + p.skew) }

func (p publisher) report(c *Clock, d, delay time.Duration) error {
	return c.Report(NTP(fragments.ProducerTime(p.utc(d))), p.rtp(d), p.start.Add(d+delay))
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestNTP(t *testing.T) {
	frac := func(sec uint64, f float64) uint64 { return (sec+ntpEpoch)<<32 + uint64(f*(1<<32)) }
	for _, tc := range []struct {
		name string
		ntp  uint64
		at   time.Time
		want time.Time // zero: refused
	}{
		{"whole second", frac(1_700_000_000, 0), noon, time.Unix(1_700_000_000, 0)},
		{"quarter", frac(1_700_000_000, 0.25), noon, time.Unix(1_700_000_000, 250_000_000)},
		{"half", frac(1_700_000_000, 0.5), noon, time.Unix(1_700_000_000, 500_000_000)},
		{"largest fraction", (1_700_000_000+ntpEpoch)<<32 + math.MaxUint32, noon, time.Unix(1_700_000_001, 0)},
		{"zero", 0, noon, time.Time{}},
		{"1900: seconds since boot", 77 << 32, noon, time.Time{}},
		{"1970: clock never set", ntpEpoch<<32 + 5, noon, time.Time{}},
		{"1999", (earliest - 1 + ntpEpoch) << 32, noon, time.Time{}},
		{"2000", (earliest + ntpEpoch) << 32, noon, time.Unix(earliest, 0)},
		{"2036 wrap, ours wrapped too", 77 << 32, time.Date(2036, 3, 1, 0, 0, 0, 0, time.UTC), time.Unix(1<<32-ntpEpoch+77, 0)},
	} {
		got, ok := ntpToUTC(tc.ntp, tc.at)
		if ok != !tc.want.IsZero() || ok && got != tc.want.UnixNano() {
			t.Errorf("%s: got %v %v, want %v", tc.name, time.Unix(0, got).UTC(), ok, tc.want)
		}
	}
	for _, ns := range []int64{0, 1, 2, 499_999_999, 999_999_998, 999_999_999} {
		want := noon.UnixNano() + ns
		if got, ok := ntpToUTC(NTP(fragments.ProducerTimestamp(want)), noon); !ok || got != want {
			t.Errorf("%d ns came back as %d", want, got)
		}
	}
}

func TestMulDivNeverOverflows(t *testing.T) {
	const ticks = 400 * 24 * 3600 * 90000 // 400 days, 90 kHz
	for _, v := range []int64{0, 1, -1, 89999, -90001, ticks + 1, -ticks - 1} {
		got := mulDiv(v, int64(time.Second), 90000)
		want := math.Floor(float64(v) / 90000 * 1e9)
		if math.Abs(float64(got)-want) > math.Abs(want)*1e-15+2 {
			t.Errorf("mulDiv(%d) = %d, want %v", v, got, want)
		}
	}
}

// A report gives capture times that are good to one tick and the fraction of NTP.
func TestClockExact(t *testing.T) {
	for _, tc := range []struct {
		name string
		p    publisher
	}{
		{"90 kHz", publisher{rate: 90000, start: noon, base: 12345}},
		{"wraps in a second", publisher{rate: 90000, start: noon, base: math.MaxUint32 - 90000}},
		{"8 kHz", publisher{rate: 8000, start: noon, base: 7}},
		{"44.1 kHz, odd fraction", publisher{rate: 44100, start: noon.Add(123_456_789), base: 1 << 31}},
		{"an hour ahead", publisher{rate: 90000, start: noon, skew: time.Hour}},
		{"nine years behind", publisher{rate: 90000, start: noon, skew: -9 * 365 * 24 * time.Hour}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := new(Clocks).Track(int(tc.p.rate))
			tick := time.Duration(int64(time.Second)/tc.p.rate + 1)
			for i := range 20 * 60 { // a minute at 20 fps
				d := time.Duration(i) * 50 * time.Millisecond
				if i%100 == 0 {
					if err := tc.p.report(c, d, 5*time.Millisecond); err != nil {
						t.Fatalf("report at %v: %v", d, err)
					}
				}
				pts := c.Packet(tc.p.rtp(d), tc.p.start.Add(d+20*time.Millisecond))
				got, src := c.Capture(pts)
				if src != fragments.FromReport {
					t.Fatalf("at %v: source %v", d, src)
				}
				if e := got.Time().Sub(tc.p.utc(d)).Abs(); e > tick {
					t.Fatalf("at %v: %v off", d, e)
				}
			}
			skew, ok := c.Skew()
			if !ok || (skew-tc.p.skew).Abs() > 25*time.Millisecond {
				t.Errorf("skew %v %v, want %v", skew, ok, tc.p.skew)
			}
		})
	}
}

func TestClockFirstReportComesBeforeFirstPacket(t *testing.T) {
	p := publisher{rate: 90000, start: noon, base: 99}
	c := new(Clocks).Track(90000)
	if err := p.report(c, 0, 0); err != nil {
		t.Fatal(err)
	}
	pts := c.Packet(p.rtp(time.Second), noon.Add(1100*time.Millisecond))
	got, src := c.Capture(pts)
	if src != fragments.FromReport || got.Time() != noon.Add(time.Second) {
		t.Errorf("got %v %v", got.Time(), src)
	}
}

func TestClockRefusesAbsurdReports(t *testing.T) {
	good := func(d time.Duration) uint64 { return NTP(fragments.ProducerTime(noon.Add(d))) }
	for _, tc := range []struct {
		name string
		ntp  uint64
		rtp  uint32
		want error
	}{
		{"no time", 0, 90000, ErrReportUnset},
		{"clock never set", (ntpEpoch + 3) << 32, 90000, ErrReportUnset},
		{"time stamp ten minutes ahead", good(time.Second), 600 * 90000, ErrReportFarOff},
		{"time stamp hours behind", good(time.Second), math.MaxUint32 - 3*3600*90000, ErrReportFarOff},
	} {
		c := new(Clocks).Track(90000)
		c.Packet(90000, noon.Add(time.Second))
		err := c.Report(tc.ntp, tc.rtp, noon.Add(time.Second))
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: error %v, want %v", tc.name, err, tc.want)
		}
		if _, src := c.Capture(c.pts); src != fragments.FromArrival {
			t.Errorf("%s: source %v", tc.name, src)
		}
	}
}

// One wild report changes nothing; two that agree with each other do.
func TestClockWildReport(t *testing.T) {
	p := publisher{rate: 90000, start: noon}
	c := new(Clocks).Track(90000)
	feed := func(d time.Duration) time.Time {
		pts := c.Packet(p.rtp(d), noon.Add(d))
		got, _ := c.Capture(pts)
		return got.Time()
	}
	feed(0)
	must(t, p.report(c, 0, 0))
	feed(5 * time.Second)
	wild := p
	wild.skew = -17 * time.Minute
	if err := wild.report(c, 5*time.Second, 0); !errors.Is(err, ErrReportDisputed) {
		t.Fatalf("wild report: %v", err)
	}
	if got := feed(6 * time.Second); got != noon.Add(6*time.Second) {
		t.Errorf("after a wild report: %v", got)
	}
	must(t, p.report(c, 10*time.Second, 0))

	p.skew = time.Hour // now the clock was really set
	feed(15 * time.Second)
	if err := p.report(c, 15*time.Second, 0); !errors.Is(err, ErrReportDisputed) {
		t.Fatalf("first report after the clock was set: %v", err)
	}
	feed(20 * time.Second)
	must(t, p.report(c, 20*time.Second, 0))
	if got, want := feed(21*time.Second), noon.Add(time.Hour+21*time.Second); got != want {
		t.Errorf("after the clock was set: %v, want %v", got, want)
	}
}

// Reports whose time stamps run twice as fast as those of the packets, as
// GStreamer's webrtcbin 1.22 sends them, are not believed; those that follow are
// once two of them agree.
func TestClockReportsRunAway(t *testing.T) {
	for _, start := range []time.Duration{0, 100 * time.Millisecond, 586 * time.Millisecond, 6 * time.Second} { // before the first packet
		p := publisher{rate: 90000, start: noon}
		s := Clocks{Wary: true}
		c, other := s.Track(90000), s.Track(48000)
		other.Packet(7, noon)
		must(t, other.Report(NTP(fragments.ProducerTime(noon.Add(-time.Hour))), 7, noon))
		feed := func(d time.Duration) (time.Duration, fragments.ClockSource) {
			pts := c.Packet(p.rtp(d), noon.Add(d+10*time.Millisecond))
			got, src := c.Capture(pts)
			return got.Time().Sub(noon.Add(d)), src
		}
		report := func(d, wrong time.Duration) error {
			return c.Report(NTP(fragments.ProducerTime(noon.Add(d))), p.rtp(d+wrong), noon.Add(d+10*time.Millisecond))
		}
		told := 0
		for d := time.Duration(0); d < 40*time.Second; d += 40 * time.Millisecond {
			if d == 80*time.Millisecond || d == 640*time.Millisecond || d > 2*time.Second && d%(5*time.Second) == 0 {
				if err := report(d, start+d); errors.Is(err, ErrReportTicks) {
					told++
				} else if err != nil || d > 80*time.Millisecond {
					t.Fatalf("report at %v: %v", d, err)
				}
			}
			if off, src := feed(d); told > 0 && (src != fragments.FromArrival || off.Abs() > 11*time.Millisecond) {
				t.Fatalf("started %v before, at %v: off by %v, source %v", start, d, off, src)
			} else if off < -200*time.Millisecond && d > 80*time.Millisecond {
				t.Fatalf("started %v before, at %v: off by %v", start, d, off)
			}
		}
		if err := report(40*time.Second, 0); !errors.Is(err, ErrReportTicks) {
			t.Errorf("first good report: %v", err)
		}
		feed(40 * time.Second)
		must(t, report(45*time.Second, 0))
		if off, src := feed(45 * time.Second); src != fragments.FromReport || off.Abs() > time.Millisecond {
			t.Errorf("after two good reports: off by %v, source %v", off, src)
		}
	}
}

// An encoder that looks ahead two seconds is late by them, and its reports tell.
func TestClockLateEncoder(t *testing.T) {
	for _, first := range []time.Duration{200 * time.Millisecond, 3 * time.Second} {
		p := publisher{rate: 90000, start: noon}
		c := (&Clocks{Wary: true}).Track(90000)
		var off time.Duration
		var src fragments.ClockSource
		for d := time.Duration(0); d < 12*time.Second; d += 40 * time.Millisecond {
			arrives := noon.Add(d + 2*time.Second)
			if now := d + 2*time.Second; d == first || d == first+5*time.Second { // reports are of now
				if err := c.Report(NTP(fragments.ProducerTime(noon.Add(now))), p.rtp(now), arrives); err != nil && d > time.Second {
					t.Errorf("report at %v: %v", d, err)
				}
			}
			pts := c.Packet(p.rtp(d), arrives)
			got, s := c.Capture(pts)
			off, src = got.Time().Sub(noon.Add(d)), s
		}
		if src != fragments.FromReport || off.Abs() > time.Millisecond {
			t.Errorf("first report at %v: off by %v, source %v", first, off, src)
		}
	}
}

// A publisher whose time stamps start anew is on arrival time until it reports again.
func TestClockPublisherRestarts(t *testing.T) {
	p := publisher{rate: 90000, start: noon, base: 1000, skew: time.Hour}
	c := new(Clocks).Track(90000)
	c.Packet(p.rtp(0), noon)
	must(t, p.report(c, 0, 0))
	again := publisher{rate: 90000, start: noon.Add(10 * time.Second), base: 3_000_000_000, skew: time.Hour}
	pts := c.Packet(again.rtp(0), again.start)
	if got, src := c.Capture(pts); src != fragments.FromArrival || got.Time() != again.start {
		t.Errorf("after the restart: %v %v", got.Time(), src)
	}
	must(t, again.report(c, time.Second, 0))
	pts = c.Packet(again.rtp(time.Second), again.start.Add(time.Second))
	if got, src := c.Capture(pts); src != fragments.FromReport || got.Time() != again.utc(time.Second) {
		t.Errorf("after its report: %v %v", got.Time(), src)
	}
}

// A network that stands still and then delivers all at once is no restart.
func TestClockKeepsReportsThroughBurst(t *testing.T) {
	p := publisher{rate: 90000, start: noon, skew: time.Hour}
	c := new(Clocks).Track(90000)
	c.Packet(p.rtp(0), noon)
	must(t, p.report(c, 0, 0))
	late := noon.Add(8 * time.Second)
	for d := time.Duration(0); d < 8*time.Second; d += 40 * time.Millisecond {
		pts := c.Packet(p.rtp(d), late)
		if got, src := c.Capture(pts); src != fragments.FromReport || got.Time().Sub(p.utc(d)).Abs() > 12*time.Microsecond {
			t.Fatalf("at %v: %v %v", d, got.Time(), src)
		}
	}
}

// All tracks change to the publisher's clock together.
func TestClocksShareSkew(t *testing.T) {
	video := publisher{rate: 90000, start: noon, base: 5, skew: -2 * time.Hour}
	audio := publisher{rate: 48000, start: noon, base: 900, skew: -2 * time.Hour}
	var s Clocks
	v, a := s.Track(90000), s.Track(48000)
	for i := range 50 {
		d := time.Duration(i) * 40 * time.Millisecond
		v.Packet(video.rtp(d), noon.Add(d+30*time.Millisecond))
		a.Packet(audio.rtp(d), noon.Add(d+30*time.Millisecond))
	}
	if _, src := a.Capture(a.pts); src != fragments.FromArrival {
		t.Fatalf("before any report: source %v", src)
	}
	must(t, video.report(v, time.Second, 0))
	got, src := a.Capture(a.pts)
	want := audio.utc(49 * 40 * time.Millisecond)
	if e := got.Time().Sub(want).Abs(); src != fragments.FromReport || e > time.Millisecond {
		t.Errorf("audio after the video's report: %v off, source %v", e, src)
	}
}

func TestClocksTracksCountFromOneMoment(t *testing.T) {
	var s Clocks
	v, a := s.Track(90000), s.Track(8000)
	if pts := v.Packet(4_000_000_000, noon); pts != 0 {
		t.Errorf("first packet has PTS %d", pts)
	}
	if pts := a.Packet(17, noon.Add(250*time.Millisecond)); pts != 2000 {
		t.Errorf("first packet of the second track has PTS %d, want 2000", pts)
	}
}

func TestClockUnwraps(t *testing.T) {
	c := new(Clocks).Track(90000)
	rtp, want := uint32(math.MaxUint32-1000), int64(0)
	for i := range 200_000 {
		at := noon.Add(time.Duration(mulDiv(want, int64(time.Second), 90000)))
		if got := c.Packet(rtp, at); got != want {
			t.Fatalf("packet %d: PTS %d, want %d", i, got, want)
		}
		step := int64(90_000) // a frame per second: wraps four times in 200,000
		if i%3 == 2 {
			step = -45_000 // B-frames come after what they precede
		}
		rtp, want = rtp+uint32(step), want+step
	}
	if want < 1<<32 {
		t.Fatalf("the time stamps never wrapped: %d", want)
	}
}

// A publisher that hands over what it had cached: the first units are old, and
// nothing is captured after it has arrived.
func TestClockArrivalBurstAtStart(t *testing.T) {
	p := publisher{rate: 90000, start: noon}
	c := new(Clocks).Track(90000)
	joined := noon.Add(2 * time.Second)
	for d := time.Duration(0); d < 4*time.Second; d += 40 * time.Millisecond {
		at := joined
		if live := noon.Add(d); live.After(at) {
			at = live
		}
		pts := c.Packet(p.rtp(d), at)
		got, _ := c.Capture(pts)
		if got.Time().After(at) {
			t.Fatalf("at %v: captured %v after it arrived", d, got.Time().Sub(at))
		}
		if d >= 2*time.Second && got.Time().Sub(noon.Add(d)).Abs() > time.Millisecond {
			t.Fatalf("at %v: %v off", d, got.Time().Sub(noon.Add(d)))
		}
	}
}

// A publisher that stood still for three seconds is followed soon.
func TestClockArrivalFollowsPause(t *testing.T) {
	p := publisher{rate: 90000, start: noon}
	c := new(Clocks).Track(90000)
	var off time.Duration
	for d := time.Duration(0); d < 30*time.Second; d += 40 * time.Millisecond {
		true_ := d
		if d > 5*time.Second {
			true_ += 3 * time.Second
		}
		pts := c.Packet(p.rtp(d), noon.Add(true_))
		got, _ := c.Capture(pts)
		off = got.Time().Sub(noon.Add(true_)).Abs()
	}
	if off > time.Millisecond {
		t.Errorf("after the pause: %v off", off)
	}
}

// A day of a camera whose crystal is wrong, over a network that jitters: the
// arrival estimate and the reports stay on the true time, without a jump.
func TestClockDrift(t *testing.T) {
	for _, ppm := range []float64{-200, 0, 200} {
		for _, reports := range []bool{false, true} {
			seed := uint64(1000 + ppm)
			p := publisher{rate: 90000, start: noon, drift: ppm * 1e-6, base: 0xfffff000}
			worst, jump := simulateDay(t, p, reports, rand.New(rand.NewPCG(seed, 1)))
			t.Logf("%+.0f ppm, reports %v, seed %d: worst %v, largest change between frames %v", ppm, reports, seed, worst, jump)
			limit, smooth := 8*time.Millisecond, 6*time.Millisecond
			if reports {
				limit, smooth = 50*time.Microsecond, 25*time.Microsecond // the speed is measured, not guessed
			}
			if worst > limit || jump > smooth {
				t.Errorf("%+.0f ppm, reports %v, seed %d: worst %v (allowed %v), jump %v (allowed %v)", ppm, reports, seed, worst, limit, jump, smooth)
			}
		}
	}
}

// simulateDay feeds a day at 5 fps; it returns the worst error after a minute
// and the largest change of the error from one frame to the next.
func simulateDay(t *testing.T, p publisher, reports bool, r *rand.Rand) (worst, jump time.Duration) {
	t.Helper()
	const least = 15 * time.Millisecond // delay of an idle network
	c := new(Clocks).Track(int(p.rate))
	var prev time.Duration
	for i := range 24 * 3600 * 5 {
		d := time.Duration(i) * 200 * time.Millisecond
		delay := least + time.Duration(r.ExpFloat64()*float64(20*time.Millisecond))
		if r.IntN(1000) == 0 {
			delay += time.Duration(r.IntN(400)) * time.Millisecond
		}
		if reports && i%25 == 0 {
			must(t, p.report(c, d, delay))
		}
		pts := c.Packet(p.rtp(d), p.start.Add(d+delay))
		got, _ := c.Capture(pts)
		off := got.Time().Sub(p.utc(d))
		if !reports {
			off -= least // which nobody can know
		}
		if d > time.Minute {
			worst, jump = max(worst, off.Abs()), max(jump, (off-prev).Abs())
		}
		prev = off
	}
	return worst, jump
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func BenchmarkClock(b *testing.B) {
	p := publisher{rate: 90000, start: noon}
	c := new(Clocks).Track(90000)
	_ = p.report(c, 0, 0)
	b.ReportAllocs()
	var d time.Duration
	for b.Loop() {
		d += 40 * time.Millisecond
		c.Capture(c.Packet(p.rtp(d), noon.Add(d)))
	}
}
