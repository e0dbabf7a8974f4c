package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest/rtsp"
	"github.com/kineweir/kineweir/playback/detect"
)

// demoCamera is a camera that the demo plays.
type demoCamera struct {
	name   fragments.StreamName
	files  []string // in demoFiles: an MP4, and sound that MP4 cannot carry
	codecs []fragments.Codec
	shows  string // what it is there to show
	zone   zones  // where motion is told: of what comes by, and not of what always moves
}

func demoCameras() []demoCamera {
	return []demoCamera{
		{"front-door", []string{"demo/front-door.mp4"}, []fragments.Codec{fragments.H264, fragments.AAC}, "H.264 with AAC sound", band(0, 0.79, 1, 0.88)},
		{"yard", []string{"demo/yard.mp4"}, []fragments.Codec{fragments.H264}, "H.264 with B-frames, no sound", band(0.25, 0.72, 1, 0.83)},
		{"loading-dock", []string{"demo/loading-dock.mp4", "demo/loading-dock.pcmu"}, []fragments.Codec{fragments.H264, fragments.PCMU}, "H.264 with G.711 sound, as old cameras have it", band(0.58, 0.2, 0.91, 0.6)},
	}
}

// band is a rectangle as a zone.
func band(left, top, right, bottom float64) zones {
	return zones{{Points: []detect.Point{{left, top}, {right, top}, {right, bottom}, {left, bottom}}}}
}

// load reads the clip of the camera.
func (d demoCamera) load() (*loop, error) {
	var c *loop
	for _, name := range d.files {
		file, err := demoFiles.ReadFile(name)
		if err == nil && c == nil {
			c, err = readClip(file)
		} else if err == nil {
			err = c.addPCMU(file)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return c, nil
}

func demoCommand() command {
	return command{
		name:  "demo",
		short: "show the product with three cameras of its own",
		long: "Runs the server with three cameras that publish to it over RTSP, and a data\n" +
			"stream with a record for every fragment of their video, prints where to look and\n" +
			"stops on Ctrl-C. Nothing else needs to be installed; with ffmpeg it also detects\n" +
			"motion. It keeps everything in a temporary folder unless told otherwise, and\n" +
			"takes other ports when the usual ones are taken.",
		examples: []string{"kineweir demo", "kineweir demo --data ./demo-data --http 127.0.0.1:9090"},
		setup: func(fs *flag.FlagSet) action {
			flags := declareOverrides(fs, "data", "http", "rtsp")
			return func(ctx context.Context, c console, args []string) error {
				if err := noArguments("demo", args); err != nil {
					return err
				}
				return runDemo(ctx, c, flags.settings())
			}
		},
	}
}

func runDemo(ctx context.Context, c console, settings []setting) error {
	config, err := demoConfig(ctx, settings)
	if err != nil {
		return err
	}
	_, keep := config.origin["data"]
	if !keep {
		dir, remove, err := demoFolder()
		if err != nil {
			return err
		}
		defer remove()
		config.Data = dir
	}
	config.Log.Level = "warn" // The demo's own words are what matters.
	d := demo{config: config, out: c.out, log: newLogger(c.err, config.Log), keep: keep, serve: serve, dial: dialRTSP}
	return d.run(ctx)
}

// dialRTSP begins to publish at an RTSP address.
func dialRTSP(ctx context.Context, url string, tracks []*fragments.Track) (publisher, error) {
	p, err := rtsp.NewPublisher(ctx, rtsp.PublisherOptions{URL: url, Tracks: tracks, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	return p, nil
}
