// Command detector-example is a detector for kineweir, to be copied: it finds
// large patches of one colour in the pictures of cameras and answers with their
// boxes. It speaks both contracts of detectors outside: a program that reads
// pictures from its standard input, and, with --http, a service. It owns no state
// between pictures, keeps none of them, and imports nothing but the standard
// library.
//
// What a model would do is done by the function find, in find.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "detector-example:", err)
		os.Exit(1)
	}
}

// detector is what is asked for on the command line.
type detector struct {
	colour colour
	least  float64       // part of the picture that a patch covers
	delay  time.Duration // for each picture, as a large model would take
}

func run(ctx context.Context, args []string, in io.Reader, out, log io.Writer) error {
	flags := flag.NewFlagSet("detector-example", flag.ContinueOnError)
	flags.SetOutput(log)
	addr := flags.String("http", "", "serve HTTP on this `address`, such as 127.0.0.1:9000, instead of reading pictures from the standard input")
	name := flags.String("colour", "red", "what to look for: red, green, blue or yellow")
	least := flags.Float64("least", 0.01, "smallest `part` of the picture that counts")
	delay := flags.Duration("delay", 0, "take this long for each picture, to see what a slow model does")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c, ok := colours()[*name]
	if !ok {
		return fmt.Errorf("colour %q: write red, green, blue or yellow", *name)
	}
	c.name = *name
	// A model is loaded here, once. The first answer may take a minute.
	d := &detector{colour: c, least: *least, delay: *delay}
	if *addr != "" {
		return d.serve(ctx, *addr, log)
	}
	fmt.Fprintf(log, "ready: looking for %s in pictures of %s\n", c.name, os.Getenv("KINEWEIR_CAMERA"))
	return d.read(in, out)
}
