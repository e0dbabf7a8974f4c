package main

import (
	"context"
	"errors"
	"flag"
)

func demoCommand() command {
	return command{
		name: "demo", short: "show the product with three cameras of its own", long: "x", examples: []string{"kineweir demo"},
		setup: func(*flag.FlagSet) action {
			return func(context.Context, console, []string) error { return errors.New("later") }
		},
	}
}
func archiveCommands() []command { return nil }
