package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/kineweir/kineweir/fragments"
)

// demoCamera is a camera that the demo plays.
type demoCamera struct {
	name   fragments.StreamName
	files  []string // in demoFiles: an MP4, and sound that MP4 cannot carry
	codecs []fragments.Codec
	shows  string // what it is there to show
}

func demoCameras() []demoCamera {
	return []demoCamera{
		{"front-door", []string{"demo/front-door.mp4"}, []fragments.Codec{fragments.H264, fragments.AAC}, "H.264 with AAC sound"},
		{"yard", []string{"demo/yard.mp4"}, []fragments.Codec{fragments.H264}, "H.264 with B-frames, no sound"},
		{"loading-dock", []string{"demo/loading-dock.mp4", "demo/loading-dock.pcmu"}, []fragments.Codec{fragments.H264, fragments.PCMU}, "H.264 with G.711 sound, as old cameras have it"},
	}
}

// load reads the clip of the camera.
func (d demoCamera) load() (*clip, error) {
	var c *clip
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
		name: "demo", short: "show the product with three cameras of its own", long: "x", examples: []string{"kineweir demo"},
		setup: func(*flag.FlagSet) action {
			return func(context.Context, console, []string) error { return errors.New("later") }
		},
	}
}
func archiveCommands() []command { return nil }
