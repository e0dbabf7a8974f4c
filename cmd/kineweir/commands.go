package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// Exit codes of every command.
const (
	exitOK     = 0 // done, or stopped as asked
	exitFailed = 1 // it could not be done, or a check found something wrong
	exitUsage  = 2 // the command line or the configuration is wrong
)

// console is what a command is run from: a terminal, or a test.
type console struct {
	out, err io.Writer
	env      func() []string
}

// command is one row of the table of commands.
type command struct {
	name     string // one or two words
	args     string // as the usage line shows them
	short    string // for the overview
	long     string // sentences for --help
	examples []string
	// setup declares the flags and returns what runs once they are parsed.
	setup func(fs *flag.FlagSet) action
}

// action runs a command with the arguments that are not flags.
type action func(ctx context.Context, c console, args []string) error

// commands lists every command, in the order of the overview.
func commands() []command {
	return slices.Concat(
		[]command{serveCommand(), demoCommand(), doctorCommand(), putCommand(), tailCommand(), benchViewersCommand()},
		configCommands(),
		archiveCommands(),
		[]command{versionCommand()},
	)
}

// usageError is a mistake on the command line.
type usageError struct {
	what string
	hint string // what to do instead; may be empty
}

func (e *usageError) Error() string {
	if e.hint == "" {
		return e.what
	}
	return e.what + "; " + e.hint
}

// errFound ends a command with exitFailed when its output has said everything.
var errFound = errors.New("found something wrong")

// run runs the command line and returns the exit code.
func run(ctx context.Context, args []string, c console) int {
	err := dispatch(ctx, args, c)
	var usage *usageError
	var config *configError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.Is(err, errFound):
		return exitFailed
	case errors.As(err, &usage), errors.As(err, &config):
		fmt.Fprintf(c.err, "kineweir: %v\n", err)
		return exitUsage
	}
	fmt.Fprintf(c.err, "kineweir: %v\n", err)
	return exitFailed
}

func dispatch(ctx context.Context, args []string, c console) error {
	if len(args) > 0 && args[0] == "help" {
		args = append(slices.Clone(args[1:]), "--help")
	}
	if len(args) == 0 || isHelp(args[0]) {
		printOverview(c.out)
		return nil
	}
	table := commands()
	cmd, rest, ok := find(table, args)
	if !ok {
		return unknownCommand(table, args, c)
	}
	fs := flag.NewFlagSet(cmd.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	act := cmd.setup(fs)
	rest, err := parseFlags(fs, rest)
	if errors.Is(err, flag.ErrHelp) {
		printHelp(c.out, cmd, fs)
		return err
	}
	if err != nil {
		return flagMistake(cmd, fs, err)
	}
	return act(ctx, c, rest)
}

func isHelp(arg string) bool {
	return arg == "-h" || arg == "-help" || arg == "--help"
}

// find returns the command with the longest name that args begin with.
func find(table []command, args []string) (cmd command, rest []string, ok bool) {
	for n := min(2, len(args)); n > 0; n-- {
		name := strings.Join(args[:n], " ")
		if i := slices.IndexFunc(table, func(c command) bool { return c.name == name }); i >= 0 {
			return table[i], args[n:], true
		}
	}
	return command{}, nil, false
}

// unknownCommand answers words that are no command: "archive" alone lists the
// commands that begin with it.
func unknownCommand(table []command, args []string, c console) error {
	var names, group []string
	for _, cmd := range table {
		names = append(names, cmd.name)
		if strings.HasPrefix(cmd.name, args[0]+" ") {
			group = append(group, cmd.name)
		}
	}
	if len(group) > 0 && (len(args) == 1 || isHelp(args[1])) {
		printGroup(c.out, table, args[0])
		if len(args) > 1 {
			return nil
		}
		return &usageError{what: fmt.Sprintf("%q needs another word", args[0]), hint: "one of those above"}
	}
	words := strings.Join(args[:min(2, len(args))], " ")
	if len(group) == 0 {
		words = args[0]
	}
	hint := `"kineweir --help" lists the commands`
	if near := nearest(words, names); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return &usageError{what: fmt.Sprintf("unknown command %q", words), hint: hint}
}

// parseFlags parses flags wherever they stand, before or after arguments, and
// returns the arguments.
func parseFlags(fs *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		parsed := args[:len(args)-fs.NArg()]
		if fs.NArg() == 0 || len(parsed) > 0 && parsed[len(parsed)-1] == "--" {
			return append(rest, fs.Args()...), nil
		}
		rest = append(rest, fs.Arg(0))
		args = fs.Args()[1:]
	}
}

// flagMistake makes a usage error of what package flag says.
func flagMistake(cmd command, fs *flag.FlagSet, err error) error {
	what := err.Error()
	name, unknown := strings.CutPrefix(what, "flag provided but not defined: -")
	if !unknown {
		what = regexp.MustCompile(`( )-(\w)`).ReplaceAllString(what, "$1--$2")
		return &usageError{what: what, hint: fmt.Sprintf(`see "kineweir %s --help"`, cmd.name)}
	}
	var names []string
	fs.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	hint := fmt.Sprintf(`"kineweir %s --help" lists the flags`, cmd.name)
	if near := nearest(strings.TrimPrefix(name, "-"), names); near != "" {
		hint = fmt.Sprintf(`did you mean "--%s"?`, near)
	}
	return &usageError{what: fmt.Sprintf("%s has no flag --%s", cmd.name, strings.TrimPrefix(name, "-")), hint: hint}
}

// noArguments refuses arguments that a command does not take.
func noArguments(name string, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := fmt.Sprintf(`see "kineweir %s --help"`, name)
	for _, c := range commands() {
		if strings.HasPrefix(c.name, name+" ") && nearest(name+" "+args[0], []string{c.name}) != "" {
			hint = fmt.Sprintf("did you mean %q?", c.name)
		}
	}
	return &usageError{what: fmt.Sprintf("%s takes no argument %q", name, args[0]), hint: hint}
}
