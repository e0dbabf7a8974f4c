package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// origin is where a key was set: a line of the file, or something with a name.
type origin struct {
	line int
	text string // "environment KINEWEIR_DATA", "flag --data"; "" for the file
}

// problem is one thing that is wrong with the configuration.
type problem struct {
	where origin
	key   string // path of the key; may be empty
	what  string
}

// configError is everything that is wrong with the configuration.
type configError struct {
	file     string
	problems []problem
}

func (e *configError) Error() string {
	list := slices.Clone(e.problems)
	slices.SortStableFunc(list, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.where.text, b.where.text), cmp.Compare(a.where.line, b.where.line))
	})
	var b strings.Builder
	if len(list) == 1 {
		b.WriteString("the configuration has a problem:")
	} else {
		fmt.Fprintf(&b, "the configuration has %d problems:", len(list))
	}
	for _, p := range list {
		b.WriteString("\n  ")
		switch {
		case p.where.text != "":
			b.WriteString(p.where.text + ": ")
		case p.where.line > 0:
			fmt.Fprintf(&b, "%s:%d: ", e.file, p.where.line)
		case e.file != "":
			b.WriteString(e.file + ": ")
		}
		if p.key != "" {
			b.WriteString(p.key + ": ")
		}
		b.WriteString(p.what)
	}
	return b.String()
}
