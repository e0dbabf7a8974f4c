package main

import (
	"context"
	"errors"
	"log/slog"
)

// serve runs the server until ctx ends and calls ready once every listener is
// up.
func serve(_ context.Context, _ *Config, _ *slog.Logger, _ func(listening)) error {
	return errors.New("serve is not wired yet")
}
