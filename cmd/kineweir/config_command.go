package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
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

// configFlags are the flags that stand for keys of the config file.
type configFlags struct {
	fs   *flag.FlagSet
	file string
}

// flagKeys says which key each flag sets.
var flagKeys = []struct{ flag, key, usage string }{
	{"data", "data", "keep everything in `FOLDER`"},
	{"http", "http.addr", "console, API, HLS and clips on `HOST:PORT`"},
	{"rtsp", "rtsp.addr", "RTSP on `HOST:PORT`; empty for none"},
	{"rtsps", "rtsp.tls_addr", "RTSP over TLS on `HOST:PORT`; empty for none"},
}

// declareConfigFlags declares --config and the flags that override its keys.
func declareConfigFlags(fs *flag.FlagSet) *configFlags {
	f := &configFlags{fs: fs}
	fs.StringVar(&f.file, "config", "", "read the config `FILE`; \"kineweir config\" prints one")
	for _, k := range flagKeys {
		fs.String(k.flag, "", k.usage)
	}
	fs.Bool("insecure", false, "let everybody in from everywhere, without credentials")
	return f
}

// load loads the configuration, flags over environment over file.
func (f *configFlags) load(environ []string) (*Config, error) {
	var set []setting
	f.fs.Visit(func(given *flag.Flag) {
		from := "flag --" + given.Name
		for _, k := range flagKeys {
			if k.flag == given.Name {
				set = append(set, setting{k.key, given.Value.String(), from})
			}
		}
		if given.Name == "insecure" {
			set = append(set, setting{"auth.insecure", given.Value.String(), from})
		}
	})
	return loadConfig(f.file, environ, set)
}
