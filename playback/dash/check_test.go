package dash_test

import (
	"encoding/xml"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/kineweir/kineweir/playback/hls"
)

// mpd is a manifest as a player reads it.
type mpd struct {
	XMLName  xml.Name   `xml:"urn:mpeg:dash:schema:mpd:2011 MPD"`
	Attrs    []xml.Attr `xml:",any,attr"`
	Location []string
	Period   []mpdPeriod
	Timing   []struct {
		Scheme string `xml:"schemeIdUri,attr"`
		Value  string `xml:"value,attr"`
	} `xml:"UTCTiming"`
}

type mpdPeriod struct {
	ID      string `xml:"id,attr"`
	Start   string `xml:"start,attr"`
	BaseURL string
	Sets    []mpdSet `xml:"AdaptationSet"`
}

type mpdSet struct {
	ID          string `xml:"id,attr"`
	ContentType string `xml:"contentType,attr"`
	Role        struct {
		Value string `xml:"value,attr"`
	}
	Representation []struct {
		ID        string `xml:"id,attr"`
		MimeType  string `xml:"mimeType,attr"`
		Codecs    string `xml:"codecs,attr"`
		Bandwidth int64  `xml:"bandwidth,attr"`
		Width     int    `xml:"width,attr"`
		Height    int    `xml:"height,attr"`
		FrameRate string `xml:"frameRate,attr"`
		Rate      int    `xml:"audioSamplingRate,attr"`
		List      struct {
			TimeScale int64 `xml:"timescale,attr"`
			Offset    int64 `xml:"presentationTimeOffset,attr"`
			Init      struct {
				URL string `xml:"sourceURL,attr"`
			} `xml:"Initialization"`
			S []struct {
				T *int64 `xml:"t,attr"`
				D int64  `xml:"d,attr"`
				R *int64 `xml:"r,attr"`
			} `xml:"SegmentTimeline>S"`
			URLs []struct {
				Media string `xml:"media,attr"`
			} `xml:"SegmentURL"`
		} `xml:"SegmentList"`
	}
}

// checker notes what is not as ISO/IEC 23009-1 and the guidelines of the DASH
// Industry Forum have it.
type checker struct {
	m     mpd
	attrs map[string]string
	wrong []string
}

func check(text []byte) []string {
	c := &checker{}
	if err := c.read(text); err != nil {
		return []string{err.Error()}
	}
	c.head()
	ids := map[string]bool{}
	for i := range c.m.Period {
		p := &c.m.Period[i]
		c.must(p.ID != "" && !ids[p.ID], "period %d has the ID %q", i, p.ID)
		ids[p.ID] = true
		end := time.Duration(1 << 62)
		if i+1 < len(c.m.Period) {
			end = c.duration(c.m.Period[i+1].Start)
		} else if d, ok := c.attrs["mediaPresentationDuration"]; ok {
			end = c.duration(d)
		}
		c.period(p, c.duration(p.Start), end)
	}
	return c.wrong
}

func (c *checker) read(text []byte) error {
	c.attrs = map[string]string{}
	if err := xml.Unmarshal(text, &c.m); err != nil {
		return err
	}
	for _, a := range c.m.Attrs {
		c.attrs[a.Name.Local] = a.Value
	}
	return nil
}

func (c *checker) must(ok bool, format string, args ...any) {
	if !ok {
		c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
	}
}

var durations = regexp.MustCompile(`^PT(\d+(?:\.\d{1,6})?)S$`)

func (c *checker) duration(s string) time.Duration {
	m := durations.FindStringSubmatch(s)
	if m == nil {
		c.must(false, "%q is no duration", s)
		return 0
	}
	f, _ := strconv.ParseFloat(m[1], 64)
	return time.Duration(f*1e6+.5) * time.Microsecond
}

func (c *checker) time(name string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, c.attrs[name])
	c.must(err == nil, "%s: %v", name, err)
	return t
}

func (c *checker) head() {
	live := c.attrs["type"] == "dynamic"
	c.must(live || c.attrs["type"] == "static", "type %q", c.attrs["type"])
	for name, when := range map[string]bool{
		"mediaPresentationDuration": !live, "minimumUpdatePeriod": live, "publishTime": live, "suggestedPresentationDelay": live,
		"availabilityStartTime": true, "minBufferTime": true, "profiles": true, "maxSegmentDuration": true,
	} {
		_, has := c.attrs[name]
		c.must(has == when, "%s in a manifest of type %s: %v", name, c.attrs["type"], has)
	}
	c.must(len(c.m.Period) > 0, "no period")
	start := c.time("availabilityStartTime")
	if !live {
		c.must(len(c.m.Timing) == 0 && len(c.m.Location) == 0, "UTCTiming or Location in what has ended")
		c.must(c.duration(c.m.Period[0].Start) == 0, "static, and begins at %s", c.m.Period[0].Start)
		return
	}
	c.must(len(c.m.Timing) == 1 && c.m.Timing[0].Scheme == "urn:mpeg:dash:utc:http-xsdate:2014", "UTCTiming %v", c.m.Timing)
	c.must(!c.time("publishTime").Before(start), "published before it began")
	c.must(c.duration(c.attrs["suggestedPresentationDelay"]) >= c.duration(c.attrs["minBufferTime"]), "the delay is less than the buffer")
	if depth, ok := c.attrs["timeShiftBufferDepth"]; ok {
		c.must(start.Unix() == 0, "live, and begins %v", start)
		c.must(c.duration(depth) >= c.duration(c.attrs["suggestedPresentationDelay"]), "the delay is beyond the window")
	}
}

func (c *checker) period(p *mpdPeriod, start, end time.Duration) {
	c.must(len(p.Sets) > 0, "period %s is empty", p.ID)
	c.must(start < end, "period %s begins at %v, after what follows", p.ID, start)
	mains := map[string]int{}
	for i := range p.Sets {
		s := &p.Sets[i]
		if s.Role.Value == "main" {
			mains[s.ContentType]++
		}
		c.must(len(s.Representation) == 1, "set %s has %d representations", s.ID, len(s.Representation))
		c.representation(p, s, start, end)
		c.must(len(s.Representation[0].List.URLs) == len(p.Sets[0].Representation[0].List.URLs), "sets of period %s are not aligned", p.ID)
	}
	for kind, n := range mains {
		c.must(n == 1, "%d main sets of %s", n, kind)
	}
}

func (c *checker) representation(p *mpdPeriod, s *mpdSet, start, end time.Duration) {
	r := &s.Representation[0]
	l := &r.List
	where := "period " + p.ID + ", set " + s.ID
	c.must(r.MimeType == s.ContentType+"/mp4" && r.Codecs != "" && r.Bandwidth > 0 && r.ID != "" && l.TimeScale > 0, "%s: %+v", where, r)
	if s.ContentType == "video" {
		c.must(r.Width > 0 && r.Height > 0 && regexp.MustCompile(`^\d+(/\d+)?$`).MatchString(r.FrameRate), "%s: %dx%d, %s", where, r.Width, r.Height, r.FrameRate)
	} else {
		c.must(r.Rate > 0, "%s: no sampling rate", where)
	}
	c.must(len(l.S) > 0 && len(l.S) == len(l.URLs) && l.S[0].T != nil, "%s: %d S for %d URLs", where, len(l.S), len(l.URLs))
	at := int64(0)
	longest := int64(0)
	for i, e := range l.S {
		c.must(e.R == nil, "%s: S %d is repeated, which dash.js does not understand in lists", where, i)
		if e.T != nil {
			c.must(i == 0 || *e.T == at, "%s: S %d leaves a hole or overlaps", where, i)
			at = *e.T
		}
		c.must(e.D > 0, "%s: S %d has no duration", where, i)
		if s.ContentType == "video" {
			c.must(at >= l.Offset, "%s: S %d is before the period", where, i)
		}
		from := start + time.Duration(float64(at-l.Offset)/float64(l.TimeScale)*1e9)
		c.must(from < end, "%s: S %d begins at %v, behind the end of the period, %v", where, i, from, end)
		at += e.D
		longest = max(longest, e.D)
	}
	c.must(time.Duration(longest)*time.Second/time.Duration(l.TimeScale) <= c.duration(c.attrs["maxSegmentDuration"])+time.Microsecond, "%s: longer than maxSegmentDuration", where)
	c.names(where, p, s)
}

// names checks that every URL is one of the segments of package hls.
func (c *checker) names(where string, p *mpdPeriod, s *mpdSet) {
	l := &s.Representation[0].List
	base, err := url.Parse("http://host/dash/front/manifest.mpd")
	if err == nil {
		base, err = base.Parse(p.BaseURL)
	}
	if err != nil {
		c.must(false, "%s: %v", where, err)
		return
	}
	seen := map[string]bool{}
	for i := -1; i < len(l.URLs); i++ {
		name, kind := l.Init.URL, hls.Init
		if i >= 0 {
			name, kind = l.URLs[i].Media, hls.Segment
		}
		u, err := base.Parse(name)
		if err != nil {
			c.must(false, "%s: %v", where, err)
			continue
		}
		parts := strings.SplitN(strings.TrimPrefix(u.Path, "/hls/"), "/", 2)
		r, err := hls.ParseRequest(parts[1], u.Query())
		if r.Kind == hls.Fill && i >= 0 {
			kind = hls.Fill
		}
		c.must(err == nil && r.Kind == kind && (kind != hls.Segment || strconv.Itoa(r.Track) == s.ID), "%s: %s is read as %+v, %v", where, name, r, err)
		c.must(!seen[name], "%s: %s twice", where, name)
		seen[name] = true
	}
}
