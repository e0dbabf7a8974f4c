package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// lowLatencyViewer watches over low-latency HLS: it asks for each part as soon as
// a playlist names it, and for the next playlist before there is one.
type lowLatencyViewer struct {
	b        *viewerBench
	t        *tally
	playlist string // of the first video track, a path with its query
	msn      int    // what is asked for next: media sequence number
	part     int
	seen     string // the last part fetched
}

func (v *lowLatencyViewer) join(ctx context.Context) error {
	list, err := mediaPlaylistOf(ctx, v.b, "/hls/"+v.b.stream+"/live.m3u8")
	if err != nil {
		return err
	}
	v.playlist = list
	return v.step(ctx, false)
}

func (v *lowLatencyViewer) watch(ctx context.Context) {
	for ctx.Err() == nil {
		if err := v.step(ctx, true); err != nil && ctx.Err() == nil {
			v.t.failed(err)
			_ = pause(ctx, 100*time.Millisecond) // lest mistakes be a load of their own
		}
	}
}

func (*lowLatencyViewer) leave() {}

// step reads the playlist, the next one or the one there is, and the parts that
// are new in it.
func (v *lowLatencyViewer) step(ctx context.Context, next bool) error {
	at := v.playlist
	if next {
		at += querySign(at) + "_HLS_msn=" + strconv.Itoa(v.msn) + "&_HLS_part=" + strconv.Itoa(v.part) + "&_HLS_skip=YES"
	}
	body, err := v.b.fetch(ctx, at)
	if err != nil {
		return err
	}
	parts := v.take(string(body))
	if len(parts) == 0 {
		return errors.New("the playlist names no parts")
	}
	begin := len(parts) - 1
	for i, p := range parts {
		if p == v.seen {
			begin = i + 1
		}
	}
	for _, p := range parts[begin:] {
		data, err := v.b.fetch(ctx, resolvePath(v.playlist, p))
		if err != nil {
			return err
		}
		sent, known := stampOf(data)
		v.t.got(len(data), time.Since(sent), known)
		v.seen = p
	}
	return nil
}

// take reads the parts of a playlist and what is to be asked for next.
func (v *lowLatencyViewer) take(list string) (parts []string) {
	segments, open, first := 0, 0, 0
	for line := range strings.Lines(list) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "#EXT-X-MEDIA-SEQUENCE:"):
			first, _ = strconv.Atoi(line[len("#EXT-X-MEDIA-SEQUENCE:"):])
		case strings.HasPrefix(line, "#EXT-X-SKIP:"):
			_, n, _ := strings.Cut(line, "SKIPPED-SEGMENTS=")
			n, _, _ = strings.Cut(n, ",")
			skipped, _ := strconv.Atoi(n)
			segments += skipped
		case strings.HasPrefix(line, "#EXT-X-PART:"):
			_, uri, _ := strings.Cut(line, `URI="`)
			uri, _, _ = strings.Cut(uri, `"`)
			parts = append(parts, uri)
			open++
		case line != "" && line[0] != '#':
			segments++
			open = 0
		}
	}
	v.msn, v.part = first+segments, open
	return parts
}

// archiveViewer watches a range of the past at the pace at which it is played.
type archiveViewer struct {
	b        *viewerBench
	t        *tally
	playlist string
	segments []string
	lengths  []time.Duration
}

func (v *archiveViewer) join(ctx context.Context) error {
	end := time.Now().Add(-time.Second)
	span := "?start=" + strconv.FormatInt(end.Add(-time.Hour).UnixMilli(), 10) + "&end=" + strconv.FormatInt(end.UnixMilli(), 10)
	list, err := mediaPlaylistOf(ctx, v.b, "/hls/"+v.b.stream+"/index.m3u8"+span)
	if err != nil {
		return err
	}
	v.playlist = list
	body, err := v.b.fetch(ctx, list)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(body)) {
		line = strings.TrimSpace(line)
		if length, ok := strings.CutPrefix(line, "#EXTINF:"); ok {
			length, _, _ = strings.Cut(length, ",")
			s, _ := strconv.ParseFloat(length, 64)
			v.lengths = append(v.lengths, time.Duration(s*float64(time.Second)))
		} else if line != "" && line[0] != '#' {
			v.segments = append(v.segments, line)
		}
	}
	if len(v.segments) == 0 || len(v.segments) != len(v.lengths) {
		return fmt.Errorf("the playlist has %d segments", len(v.segments))
	}
	return nil
}

func (v *archiveViewer) watch(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i = (i + 1) % len(v.segments) {
		begun := time.Now()
		data, err := v.b.fetch(ctx, resolvePath(v.playlist, v.segments[i]))
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			v.t.failed(err)
		} else {
			v.t.got(len(data), time.Since(begun), true)
		}
		_ = pause(ctx, v.lengths[i]-time.Since(begun))
	}
}

func (*archiveViewer) leave() {}

// mediaPlaylistOf returns the path of the first media playlist of a multivariant
// one.
func mediaPlaylistOf(ctx context.Context, b *viewerBench, at string) (string, error) {
	body, err := b.fetch(ctx, at)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(body)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return resolvePath(at, line), nil
		}
	}
	return "", fmt.Errorf("%s names no playlist", at)
}

// resolvePath resolves a reference against a path with a query.
func resolvePath(base, ref string) string {
	b, err := url.Parse(base)
	if err != nil {
		return ref
	}
	u, err := b.Parse(ref)
	if err != nil {
		return ref
	}
	return u.RequestURI()
}

func querySign(path string) string {
	if strings.Contains(path, "?") {
		return "&"
	}
	return "?"
}
