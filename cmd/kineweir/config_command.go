package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
)

func configCommands() []command {
	return []command{
		{
			name:     "config",
			short:    "print the annotated config file with every default",
			long:     "Prints a config file that explains every key and gives its default. Write it to\na file, change what you need and start with \"kineweir serve --config FILE\".",
			examples: []string{"kineweir config", "kineweir config > kineweir.yaml"},
			setup: func(*flag.FlagSet) action {
				return func(_ context.Context, c console, args []string) error {
					if err := noArguments("config", args); err != nil {
						return err
					}
					_, err := io.WriteString(c.out, configText)
					return err
				}
			},
		},
		{
			name:     "config check",
			args:     "FILE",
			short:    "check a config file, and the environment with it",
			long:     "Reads a config file and the KINEWEIR_ variables of the environment as \"serve\"\nwould, and names everything that is wrong at once, with line and hint.",
			examples: []string{"kineweir config check kineweir.yaml", "KINEWEIR_HTTP_ADDR=:8080 kineweir config check kineweir.yaml"},
			setup: func(*flag.FlagSet) action {
				return checkConfig
			},
		},
	}
}

func checkConfig(_ context.Context, c console, args []string) error {
	if len(args) != 1 {
		return &usageError{what: "config check takes one file", hint: `as in "kineweir config check kineweir.yaml"`}
	}
	_, err := loadConfig(args[0], c.env(), nil)
	var bad *configError
	if errors.As(err, &bad) {
		fmt.Fprintln(c.out, bad)
		return errFound
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s is right\n", args[0])
	return nil
}

// overrides are the flags that stand for keys of the config file.
type overrides struct {
	fs *flag.FlagSet
}

// flagKeys says which key each flag sets.
var flagKeys = []struct{ flag, key, usage string }{
	{"data", "data", "keep everything in `FOLDER`"},
	{"http", "http.addr", "console, API, HLS and clips on `HOST:PORT`"},
	{"rtsp", "rtsp.addr", "RTSP on `HOST:PORT`; empty for none"},
	{"rtsps", "rtsp.tls_addr", "RTSP over TLS on `HOST:PORT`; empty for none"},
	{"webrtc", "webrtc.addr", "WebRTC on `HOST:PORT`, UDP and TCP; empty for none"},
	{"ephemeral", "ephemeral", "keep nothing after the end, and throttle as the service does: for tests"},
	{"insecure", "auth.insecure", "let everybody in from everywhere, without credentials"},
}

// declareOverrides declares those of flagKeys that are named.
func declareOverrides(fs *flag.FlagSet, names ...string) overrides {
	for _, k := range flagKeys {
		switch {
		case !slices.Contains(names, k.flag):
		case k.flag == "insecure", k.flag == "ephemeral":
			fs.Bool(k.flag, false, k.usage)
		default:
			fs.String(k.flag, "", k.usage)
		}
	}
	return overrides{fs}
}

// settings returns what the flags that were given set.
func (o overrides) settings() (set []setting) {
	o.fs.Visit(func(given *flag.Flag) {
		for _, k := range flagKeys {
			if k.flag == given.Name {
				set = append(set, setting{k.key, given.Value.String(), "flag --" + given.Name})
			}
		}
	})
	return set
}

// allOverrides are the names of flagKeys.
var allOverrides = []string{"data", "http", "rtsp", "rtsps", "webrtc", "ephemeral", "insecure"}

// declareConfig declares --config and the overrides that are named, and returns
// what loads the configuration from them: flags over environment over file.
func declareConfig(fs *flag.FlagSet, names ...string) (load func(environ []string) (*Config, error)) {
	file := fs.String("config", "", "read the config `FILE`; \"kineweir config\" prints one")
	o := declareOverrides(fs, names...)
	return func(environ []string) (*Config, error) {
		return loadConfig(*file, environ, o.settings())
	}
}
