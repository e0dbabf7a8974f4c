// Command kineweir is the whole product in one binary: it takes video in over
// RTSP, keeps it as timestamped fragments and plays it out.
//
// This package owns the commands, their flags, the shape of the config file and
// the order in which everything starts and stops. It is the only place that
// knows all the others. It never does their work: whatever is not a command, a
// key of the config file or a wire between two packages belongs further down.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for an orderly stop; a second one ends at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], console{out: os.Stdout, err: os.Stderr, env: os.Environ}))
}
