package main

import (
	"flag"
	"fmt"
	"io"
	"strings"
)

const overviewHead = `kineweir records cameras on your own machines: RTSP in, timestamped fragments
kept on a disk or in an object store, HLS, clips and RTSP out.

Usage: kineweir COMMAND [FLAGS]

`

const overviewTail = `
"kineweir COMMAND --help" shows the flags of a command and examples.
Exit codes: 0 done, or stopped as asked; 1 it could not be done, or a check
found something wrong; 2 the command line or the configuration is wrong.
`

func printOverview(w io.Writer) {
	io.WriteString(w, overviewHead)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-16s %s\n", c.name, c.short)
	}
	io.WriteString(w, overviewTail)
}

// printGroup lists the commands whose first word is group.
func printGroup(w io.Writer, table []command, group string) {
	for _, c := range table {
		if strings.HasPrefix(c.name, group+" ") {
			fmt.Fprintf(w, "  %-16s %s\n", c.name, c.short)
		}
	}
}

func printHelp(w io.Writer, c command, fs *flag.FlagSet) {
	usage := "Usage: kineweir " + c.name
	any := false
	fs.VisitAll(func(*flag.Flag) { any = true })
	if any {
		usage += " [FLAGS]"
	}
	if c.args != "" {
		usage += " " + c.args
	}
	fmt.Fprintf(w, "%s\n\n%s\n", usage, c.long)
	if any {
		fmt.Fprint(w, "\nFlags:\n")
		fs.VisitAll(func(f *flag.Flag) { printFlag(w, f) })
	}
	fmt.Fprint(w, "\nExamples:\n")
	for _, e := range c.examples {
		fmt.Fprintf(w, "  %s\n", e)
	}
}

func printFlag(w io.Writer, f *flag.Flag) {
	value, text := flag.UnquoteUsage(f)
	name := "--" + f.Name
	if value != "" {
		name += " " + value
	}
	fmt.Fprintf(w, "  %-22s %s\n", name, strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", 25)))
}

// nearest returns the name that s was most likely meant to be, or "" when none
// is near.
func nearest(s string, names []string) string {
	best, distance := "", 1+max(1, len(s)/3)
	for _, n := range names {
		if d := editDistance(s, n); d < distance {
			best, distance = n, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions, replacements and swaps of
// neighbours that make b of a.
func editDistance(a, b string) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
