//go:build !linux

package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"
)

// syncSpeed measures how long a small durable write to a file of dir takes.
func syncSpeed(ctx context.Context, dir string) (p50, p99 time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".kineweir-doctor-*")
	if err != nil {
		return 0, 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var took []time.Duration
	for begin := time.Now(); len(took) < syncTries && (len(took) < 5 || time.Since(begin) < syncTime) && ctx.Err() == nil; {
		start := time.Now()
		if _, err := f.WriteAt(make([]byte, 4096), int64(len(took))*4096); err != nil {
			return 0, 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, 0, err
		}
		took = append(took, time.Since(start))
	}
	if len(took) == 0 {
		return 0, 0, ctx.Err()
	}
	slices.Sort(took)
	return took[len(took)/2], took[(len(took)*99)/100], nil
}

func fileSystem(string) (name, warning string) { return "file system unknown", "" }

func diskSpace(string) (free, total size, err error) { return 0, 0, errors.ErrUnsupported }

func clockState() clockReading { return clockReading{} }

func openFileLimit() (uint64, bool) { return 0, false }
