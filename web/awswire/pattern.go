package awswire

import (
	"fmt"
	"regexp"
	"regexp/syntax"
)

// pattern is an expression that whole strings have to match. The two forms that
// records are full of, one or more characters of a class and a decimal number
// without leading zeros, are matched without the machine for expressions: it
// takes 2 us for a hash key, more than decoding its record.
type pattern struct {
	text   string
	whole  *regexp.Regexp
	class  *[128]bool // of one or more ASCII characters, or nil
	digits int        // at most so many of a decimal number, or 0
}

// decimal is how the service writes a number of at most so many digits and one.
const decimal = `0|([1-9]\d{0,%d})`

func newPattern(text string) (*pattern, error) {
	whole, err := regexp.Compile(`^(?:` + text + `)$`)
	if err != nil {
		return nil, err
	}
	p := &pattern{text: text, whole: whole}
	var more int
	if _, err := fmt.Sscanf(text, decimal, &more); err == nil && text == fmt.Sprintf(decimal, more) {
		p.digits = more + 1
	}
	if tree, err := syntax.Parse(text, syntax.Perl); err == nil && tree.Op == syntax.OpPlus && tree.Sub[0].Op == syntax.OpCharClass {
		p.class = asciiClass(tree.Sub[0].Rune)
	}
	return p, nil
}

// asciiClass is the set of the ranges, nil if it has others than ASCII.
func asciiClass(ranges []rune) *[128]bool {
	var set [128]bool
	for i := 0; i < len(ranges); i += 2 {
		if ranges[i+1] >= rune(len(set)) {
			return nil
		}
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			set[r] = true
		}
	}
	return &set
}

func (p *pattern) match(s string) bool {
	switch {
	case p.digits > 0:
		return p.isNumber(s)
	case p.class == nil:
		return p.whole.MatchString(s)
	}
	for i := range len(s) {
		if s[i] >= byte(len(p.class)) || !p.class[s[i]] {
			return false
		}
	}
	return s != ""
}

func (p *pattern) isNumber(s string) bool {
	if s == "" || len(s) > p.digits || s[0] == '0' && len(s) > 1 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
