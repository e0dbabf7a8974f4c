package main

import (
	"context"
	"flag"
	"io"
	"log/slog"
)

func serveCommand() command {
	return command{
		name:  "serve",
		short: "run the server",
		long: "Runs the server until it is told to stop (Ctrl-C or SIGTERM): takes video in over\n" +
			"RTSP, keeps it, and serves the console, HLS, clips and RTSP; takes records in and\n" +
			"gives them out through the API of Amazon Kinesis Data Streams and WebSockets. It\n" +
			"listens on this machine alone unless told otherwise, and elsewhere only with\n" +
			"credentials.",
		examples: []string{
			"kineweir serve",
			"kineweir serve --config /etc/kineweir.yaml --data /var/lib/kineweir",
			"kineweir serve --http :8080 --rtsp :8554",
			"kineweir serve --ephemeral --http 127.0.0.1:4567",
			"KINEWEIR_LOG_LEVEL=debug kineweir serve",
		},
		setup: func(fs *flag.FlagSet) action {
			load := declareConfig(fs, allOverrides...)
			return func(ctx context.Context, c console, args []string) error {
				if err := noArguments("serve", args); err != nil {
					return err
				}
				config, err := load(c.env())
				if err != nil {
					return err
				}
				return serve(ctx, config, newLogger(c.err, config.Log), func(listening) {})
			}
		},
	}
}

// listening is where a server can be reached once all its listeners are up.
// What is off is empty.
type listening struct {
	HTTP  string // URL of the console, without a slash at the end
	RTSP  string // URL below which the streams are
	RTSPS string
	// WebRTC is host:port of its media, UDP and TCP; offers go to HTTP.
	WebRTC string
	// Where credentials are needed: the RTSP URL with those of the first user, for
	// the demo's own cameras, and the file they stand in.
	Publish, Credentials string
}

func newLogger(w io.Writer, c LogConfig) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		panic("log level " + c.Level + " passed the check of the configuration")
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
