package main

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
)

func versionCommand() command {
	return command{
		name:     "version",
		short:    "print the version, the Go it was built with and the platform",
		long:     "Prints the version, the commit, the Go it was built with and the platform.",
		examples: []string{"kineweir version"},
		setup: func(*flag.FlagSet) action {
			return func(_ context.Context, c console, args []string) error {
				if err := noArguments("version", args); err != nil {
					return err
				}
				fmt.Fprintf(c.out, "kineweir %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
				return nil
			}
		},
	}
}

// version returns what the build says of itself: the module's version when it
// was installed by version, else the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return versionOf(info)
}

func versionOf(info *debug.BuildInfo) string {
	setting := func(key string) string {
		for _, s := range info.Settings {
			if s.Key == key {
				return s.Value
			}
		}
		return ""
	}
	v := info.Main.Version
	if v != "" && v != "(devel)" {
		return v
	}
	v = "development"
	if revision := setting("vcs.revision"); revision != "" {
		v += "-" + revision[:min(12, len(revision))]
	}
	if setting("vcs.modified") == "true" {
		v += "+changed"
	}
	return v
}
