package main

import (
	"slices"
	"strings"
)

// floor is one storey of the house. Arrows (imports) point downward only.
type floor struct {
	level int
	dir   string // a folder, or with "/*" the folder and everything in it
	why   string
}

// floors are searched in order; the first that matches counts.
var floors = []floor{
	{0, "datastream/journal/*", "an instrument: frames on a disk know nothing of what they hold"},
	{0, "datastream/segment/*", "an instrument: sealed files know nothing of streams"},
	{0, "archive/bucket/*", "an instrument: an object store knows nothing of video"},
	{0, "web/awswire/*", "an instrument: an encoding knows nothing of operations"},
	{0, "web/sigv4/*", "an instrument: a signature knows nothing of who is asked"},
	{3, "datastream/functions/*", "a mover: it reads streams like any consumer"},
	{3, "datastream/analytics/*", "a mover: it reads and writes streams like any client"},
	{1, "fragments/*", "the nouns of video, which everybody may import because they import nobody"},
	{1, "datastream/*", "the engine of records, as independent of video as video is of it"},
	{2, "archive/*", "durable video stands on nouns and instruments, and works without any protocol"},
	{3, "ingest/*", "movers bring video in; what comes out is none of their business"},
	{3, "playback/*", "movers bring video out; they must work while nothing comes in"},
	{3, "firehose/*", "a mover of records"},
	{4, "web/*", "the front door speaks HTTP and AWS, so that nobody else has to"},
	{5, "cmd/*", "the only place that knows everything"},
}

func floorOf(dir string) (floor, bool) {
	for _, f := range floors {
		if inFolder(dir, f.dir) {
			return f, true
		}
	}
	return floor{}, false
}

// inFolder reports whether dir is the folder of a pattern such as "a/b" or
// "a/b/*".
func inFolder(dir, pattern string) bool {
	if whole, ok := strings.CutSuffix(pattern, "/*"); ok {
		return dir == whole || strings.HasPrefix(dir, whole+"/")
	}
	return dir == pattern
}

func top(dir string) string {
	t, _, _ := strings.Cut(dir, "/")
	return t
}

// sideways are the arrows within a floor or between siblings that are allowed.
var sideways = []struct{ from, to, why string }{
	{"firehose/*", "datastream/functions/*", "a delivery stream may call a function for each batch"},
	{"datastream/analytics/*", "datastream/functions/*", "a query may deliver to a function"},
	{"playback/*", "playback/image/*", "a detector looks at images"},
	{"playback/dash", "playback/hls", "one timeline and one set of segments, told in two languages"},
	{"ingest/*", "ingest/depacketize", "RTP is the same whoever carries it: RTSP or WebRTC"},
}

// checkFloors finds arrows that do not point downward. Tests are free of it:
// they are no part of the product, and some need what stands above to make
// real input.
func checkFloors(t *tree) (bad []string) {
	for p, f := range t.product {
		from, ok := floorOf(p.dir)
		if !ok {
			bad = append(bad, f.path+": stands on no floor")
			continue
		}
		for spec, imp := range f.imports {
			dir, own := ownImport(imp)
			if !own {
				continue
			}
			to, ok := floorOf(dir)
			switch {
			case !ok:
				bad = append(bad, t.at(spec, "imports %s, which stands on no floor", dir))
			case !downward(p.dir, dir, from.level, to.level):
				bad = append(bad, t.at(spec, "%s (floor %d: %s) imports %s (floor %d: %s)", p.dir, from.level, from.why, dir, to.level, to.why))
			}
		}
	}
	return bad
}

// downward reports whether the folder from may import the folder to.
func downward(from, to string, fromLevel, toLevel int) bool {
	if from == to {
		return true
	}
	for _, s := range sideways {
		if inFolder(from, s.from) && inFolder(to, s.to) {
			return true
		}
	}
	switch {
	case top(from) == "fragments" && top(to) != "fragments", top(from) == "datastream" && top(to) != "datastream":
		return false // The two engines import no other top folder, not even its instruments.
	case top(to) == "web" && top(from) != "web":
		return fromLevel == 5 // Nothing below the front door uses even its instruments.
	case top(from) != top(to):
		return toLevel < fromLevel
	case fromLevel == 3 && toLevel == 3:
		// Siblings do not know each other; parent and child may.
		return inFolder(from, to+"/*") || inFolder(to, from+"/*")
	}
	return toLevel <= fromLevel
}

// checkTwoWays finds top folders that import each other. Go forbids it for
// packages only; between folders of several packages it would pass unseen, and
// neither could be understood or replaced alone.
func checkTwoWays(t *tree) (bad []string) {
	arrows := map[[2]string]string{}
	for p, f := range t.product {
		for spec, imp := range f.imports {
			dir, own := ownImport(imp)
			if own && top(dir) != top(p.dir) {
				arrows[[2]string{top(p.dir), top(dir)}] = t.at(spec, "imports %s", dir)
			}
		}
	}
	for a, where := range arrows {
		if back, ok := arrows[[2]string{a[1], a[0]}]; ok && a[0] < a[1] {
			bad = append(bad, where+", and "+back)
		}
	}
	slices.Sort(bad)
	return bad
}

// foreign says who alone may import a library.
var foreign = []struct {
	library string   // import path, or with "/*" everything below
	only    []string // folders; empty for nobody
	but     []string // when given: everybody but these folders
	why     string
}{
	{library: "github.com/bluenviron/gortsplib/*", only: []string{"ingest/rtsp/*", "ingest/depacketize"}, why: "one package knows the RTSP library and its traps, one its readers of RTP"},
	{library: "github.com/pion/webrtc/*", only: []string{"ingest/peer", "playback/viewer", "web/whip", "cmd/*"}, why: "WebRTC is one way in and one way out among others"},
	{library: "github.com/minio/minio-go/*", only: []string{"archive/bucket/minio"}, why: "the archive needs an object store, not a vendor"},
	{library: "net/http", but: []string{"fragments/*", "datastream", "datastream/journal/*", "datastream/segment/*", "datastream/keyring/*", "datastream/consumer", "archive", "archive/bucket", "archive/bucket/dir", "archive/feed", "archive/events", "ingest"}, why: "engines know no HTTP servers; the front door does (datastream/consumer/remote is a client)"},
	{library: "flag", only: []string{"cmd/*"}, why: "flags have one place"},
	{library: "log", why: "the log is an injected *slog.Logger"},
	{library: "io/ioutil", why: "it is deprecated"},
}

// checkForeign finds libraries in places that must not know them.
func checkForeign(t *tree) (bad []string) {
	for p, f := range t.product {
		for spec, imp := range f.imports {
			for _, r := range foreign {
				if inFolder(imp, r.library) && !allowedIn(p.dir, r.only, r.but) {
					bad = append(bad, t.at(spec, "%s imports %s: %s", p.dir, imp, r.why))
				}
			}
		}
	}
	return bad
}

func allowedIn(dir string, only, but []string) bool {
	in := func(patterns []string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { return inFolder(dir, p) })
	}
	if but != nil {
		return !in(but)
	}
	return in(only)
}
