package cmaf_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
)

// shownAt returns when the samples of parts are decoded and shown, and what is
// in them.
func shownAt(t *testing.T, data []byte) (decoded, shown []int64, payload [][]byte) {
	t.Helper()
	for p, err := range cmaf.Parts(data) {
		if err != nil {
			t.Fatal(err)
		}
		at := p.DecodeTime
		for _, s := range p.Samples {
			decoded, shown, payload = append(decoded, at), append(shown, at+int64(s.Offset)), append(payload, s.Data)
			at += int64(s.Duration)
		}
	}
	return decoded, shown, payload
}

// TestDelay delays parts with and without room for composition offsets, some
// of key frames alone: decode times move, presentation and media stay.
func TestDelay(t *testing.T) {
	track := &fragments.Track{ID: 1, Codec: fragments.VP9, TimeScale: 90000}
	sample := func(offset uint32, key bool, name string) fragments.Sample {
		return fragments.Sample{Duration: 3600, Offset: offset, Key: key, Payload: [][]byte{[]byte(name)}}
	}
	data := cmaf.AppendUUIDBox(nil, [16]byte{1}, []byte("between"))
	data = cmaf.AppendPart(data, track, 1, 1<<40, []fragments.Sample{sample(3600, true, "I0"), sample(10800, false, "P3")})
	data = cmaf.AppendPart(data, track, 2, 1<<40+7200, []fragments.Sample{sample(0, false, "B1"), sample(0, false, "B2")})
	data = cmaf.AppendPart(data, track, 3, 1<<40+14400, []fragments.Sample{sample(0, true, "I4")})
	delay, reordered, err := cmaf.ReorderDelay(data)
	if err != nil || delay != 3600 || !reordered {
		t.Fatalf("delay %d, reordered %v, %v; want 3600", delay, reordered, err)
	}
	decoded, shown, payload := shownAt(t, data)
	got, err := cmaf.Delay(bytes.Clone(data), delay)
	if err != nil {
		t.Fatal(err)
	}
	later, same, media := shownAt(t, got)
	if len(later) != 5 {
		t.Fatalf("%d samples, want 5", len(later))
	}
	for i := range later {
		if later[i] != decoded[i]+delay || same[i] != shown[i] || !bytes.Equal(media[i], payload[i]) {
			t.Errorf("sample %d: %q decoded at %d, shown at %d; want %q, %d, %d", i, media[i], later[i], same[i], payload[i], decoded[i]+delay, shown[i])
		}
	}
	if rest, _, err := cmaf.ReorderDelay(got); err != nil || rest != 0 {
		t.Errorf("after it a delay of %d, %v", rest, err)
	}
	if none, err := cmaf.Delay(data, 0); err != nil || !bytes.Equal(none, data) {
		t.Errorf("a delay of 0 changes the parts: %v", err)
	}
}

func TestDelayErrors(t *testing.T) {
	track := &fragments.Track{ID: 1, Codec: fragments.VP9, TimeScale: 90000}
	good := cmaf.AppendPart(nil, track, 1, 1000, benchSamples(2, 10))
	for name, data := range map[string][]byte{
		"another layout": foreignPart(5),
		"cut":            good[:len(good)-1],
		"cut in moof":    good[:70],
		"trun version 0": bytes.Replace(good, []byte("trun\x01"), []byte("trun\x00"), 1),
		"more samples":   bytes.Replace(good, []byte{0, 0, 0, 2, 0, 0}, []byte{0, 0, 0, 3, 0, 0}, 1),
		"out of range":   cmaf.AppendPart(nil, track, 1, 1<<62, benchSamples(1, 1)),
	} {
		delay := int64(10)
		if name == "out of range" {
			delay = 1 << 62
		}
		var ferr *cmaf.FormatError
		if _, err := cmaf.Delay(bytes.Clone(data), delay); !errors.As(err, &ferr) {
			t.Errorf("%s: got %v, want a FormatError", name, err)
		}
	}
}

// FuzzDelay: no bytes make Delay fail in another way than by its error, and
// what it returns has its parts still.
func FuzzDelay(f *testing.F) {
	track := &fragments.Track{ID: 1, Codec: fragments.VP9, TimeScale: 90000}
	f.Add(cmaf.AppendPart(nil, track, 1, 1000, benchSamples(3, 10)), int64(10))
	f.Add(foreignPart(5), int64(-3))
	f.Fuzz(func(t *testing.T, data []byte, delay int64) {
		n := 0
		for _, err := range cmaf.Parts(data) {
			if err != nil {
				n = -1
				break
			}
			n++
		}
		got, err := cmaf.Delay(bytes.Clone(data), delay)
		if err != nil || n < 0 {
			return
		}
		for _, err := range cmaf.Parts(got) {
			if err != nil {
				t.Fatalf("parts cannot be read any more: %v", err)
			}
			n--
		}
		if n != 0 {
			t.Fatalf("%d parts fewer", n)
		}
	})
}
