package live

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

var (
	video = &fragments.Track{ID: 1, Codec: fragments.H264, TimeScale: 90000}
	audio = &fragments.Track{ID: 2, Codec: fragments.Opus, TimeScale: 48000}
)

func unit(t *fragments.Track, i int, key bool) *fragments.AccessUnit {
	return &fragments.AccessUnit{Track: t, PTS: int64(i), Key: key, Payload: [][]byte{make([]byte, 10)}}
}

func next(t *testing.T, s *Subscription) *fragments.AccessUnit {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	au, err := s.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return au
}

func TestSubscriberStartsAtKeyFrame(t *testing.T) {
	h := New()
	p := h.Publish("a", []*fragments.Track{video, audio})
	p.Write(unit(video, 0, false)) // nobody can begin here
	for i := 1; i <= 30; i++ {
		p.Write(unit(video, i, i%10 == 1))
		p.Write(unit(audio, i, true))
	}
	s, err := h.Subscribe("a", SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if au := next(t, s); au.PTS != 21 || !au.Key || au.Track != video {
		t.Errorf("first unit: %d of track %d", au.PTS, au.Track.ID)
	}
	for range 19 {
		next(t, s)
	}
	p.Write(unit(video, 31, true))
	if au := next(t, s); au.PTS != 31 {
		t.Errorf("after the cache: %d", au.PTS)
	}
	p.Close()
	if _, err := s.Next(t.Context()); !errors.Is(err, ErrEnded) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := h.Subscribe("a", SubscribeOptions{}); !errors.Is(err, ErrNotLive) {
		t.Errorf("subscribe after the end: %v", err)
	}
}

func TestSlowSubscriberResumesAtKeyFrame(t *testing.T) {
	h := New()
	p := h.Publish("a", []*fragments.Track{video})
	p.Write(unit(video, 0, true))
	slow, _ := h.Subscribe("a", SubscribeOptions{MaxUnits: 1})
	quick, _ := h.Subscribe("a", SubscribeOptions{})
	limit := maxGroupUnits + 1
	n := limit + 50
	for i := 1; i < n; i++ {
		p.Write(unit(video, i, i%100 == 0))
		if au := next(t, quick); au.PTS != int64(i-1) {
			t.Fatalf("quick subscriber: %d, want %d", au.PTS, i-1)
		}
	}
	au := next(t, slow)
	if !au.Key || au.PTS < int64(limit-1) {
		t.Errorf("slow subscriber resumes at %d, key %v", au.PTS, au.Key)
	}
	if slow.Dropped() == 0 || p.Dropped() != slow.Dropped() || quick.Dropped() != 0 {
		t.Errorf("dropped: %d, %d of the publisher, %d", slow.Dropped(), p.Dropped(), quick.Dropped())
	}
	slow.Close()
	quick.Close()
	if p.Subscribers() != 0 {
		t.Errorf("%d subscribers left", p.Subscribers())
	}
}

func TestGroupLargerThanCache(t *testing.T) {
	h := New()
	p := h.Publish("a", []*fragments.Track{video})
	for i := range maxGroupUnits + 10 {
		p.Write(unit(video, i, i == 0))
	}
	s, _ := h.Subscribe("a", SubscribeOptions{})
	p.Write(unit(video, 1<<20, false))
	p.Write(unit(video, 1<<20+1, true))
	if au := next(t, s); au.PTS != 1<<20+1 {
		t.Errorf("begins at %d", au.PTS)
	}
}

func TestAudioOnlyNeedsNoKeyFrame(t *testing.T) {
	h := New()
	p := h.Publish("a", []*fragments.Track{audio})
	s, _ := h.Subscribe("a", SubscribeOptions{})
	p.Write(unit(audio, 5, true))
	if au := next(t, s); au.PTS != 5 {
		t.Errorf("got %d", au.PTS)
	}
}

func TestWaitAndTakeover(t *testing.T) {
	h := New()
	got := make(chan error, 1)
	go func() {
		_, err := h.Wait(t.Context(), "a")
		got <- err
	}()
	p := h.Publish("a", nil)
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	s, _ := h.Subscribe("a", SubscribeOptions{})
	second := h.Publish("a", nil)
	if _, err := s.Next(t.Context()); !errors.Is(err, ErrEnded) {
		t.Errorf("subscriber of the old publisher: %v", err)
	}
	p.Close()
	if now, err := h.Live("a"); err != nil || now != second {
		t.Errorf("closing the old publisher ended the new one: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Wait(ctx, "b"); !errors.Is(err, context.Canceled) {
		t.Errorf("wait: %v", err)
	}
}

func TestChurn(t *testing.T) {
	h := New()
	p := h.Publish("a", []*fragments.Track{video})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				p.Write(unit(video, i, i%10 == 0))
			}
		}
	})
	for range 8 {
		wg.Go(func() {
			for range 200 {
				s, err := h.Subscribe("a", SubscribeOptions{})
				if err != nil {
					t.Error(err)
					return
				}
				for range 3 {
					if _, err := s.Next(t.Context()); err != nil {
						t.Error(err)
					}
				}
				s.Close()
			}
			select {
			case <-stop:
			default:
			}
		})
	}
	time.AfterFunc(2*time.Second, func() { close(stop) })
	wg.Wait()
	if n := p.Subscribers(); n != 0 {
		t.Errorf("%d subscribers left", n)
	}
}

// BenchmarkWrite hands one unit to a hundred subscribers.
func BenchmarkWrite(b *testing.B) {
	h := New()
	p := h.Publish("a", []*fragments.Track{video})
	for range 100 {
		s, err := h.Subscribe("a", SubscribeOptions{})
		if err != nil {
			b.Fatal(err)
		}
		go func() {
			for {
				if _, err := s.Next(b.Context()); err != nil {
					return
				}
			}
		}()
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p.Write(unit(video, i, i%50 == 0))
	}
	p.Close()
}

func TestKeyRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New()
		p := h.Publish("a", []*fragments.Track{video})
		s, _ := h.Subscribe("a", SubscribeOptions{})
		s.RequestKey() // cannot be asked
		asked := 0
		p.OnKeyRequest(func() { asked++ })
		for range 10 {
			s.RequestKey()
		}
		if asked != 1 {
			t.Errorf("asked %d times at once, want 1", asked)
		}
		time.Sleep(keyPause)
		s.RequestKey()
		if asked != 2 {
			t.Errorf("asked %d times after the pause, want 2", asked)
		}
		p.Close()
		time.Sleep(keyPause)
		s.RequestKey()
		if asked != 2 {
			t.Errorf("asked after the end")
		}
	})
}
