package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
)

// The least lengths of what proves who somebody is. A secret is looked up by
// itself (Authorization: Bearer), so it must be one that nobody can guess.
const (
	minPassword = 8
	minSecret   = 16
)

// user is one entry of the credentials file.
type user struct {
	name     string
	Password string   `yaml:"password"`
	Keys     []key    `yaml:"keys"`
	Admin    bool     `yaml:"admin"`
	Metrics  bool     `yaml:"metrics"`
	Publish  []string `yaml:"publish"`
	View     []string `yaml:"view"`
}

type key struct {
	ID     string `yaml:"id"`
	Secret string `yaml:"secret"`
}

// book is the credentials file, checked. It is never changed.
type book struct {
	users     map[string]*user
	ids       map[string]keyOwner // access key ids
	anonymous user
}

type keyOwner struct {
	user   *user
	secret string
}

// may reports whether u has the right to do a with the stream.
func (u *user) may(a ingest.Action, name fragments.StreamName) bool {
	if u.Admin {
		return true
	}
	var patterns []string
	switch a {
	case ingest.Publish:
		patterns = u.Publish
	case ingest.View:
		patterns = u.View
	}
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, _ := path.Match(p, string(name)) // patterns were checked when they were read
		return ok
	})
}

// secret returns what u proves itself with where there is room for one only
// (Digest): the password, or else the first key.
func (u *user) secret() string {
	if u.Password == "" && len(u.Keys) > 0 {
		return u.Keys[0].Secret
	}
	return u.Password
}

// find returns the user of a name or of an access key id, and the secret that
// goes with it.
func (b *book) find(name string) (u *user, secret string, ok bool) {
	if u, ok := b.users[name]; ok {
		return u, u.secret(), true
	}
	k, ok := b.ids[name]
	return k.user, k.secret, ok
}

var (
	userName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$`)
	keyID    = regexp.MustCompile(`^[A-Za-z0-9_]{4,128}$`)
)

// parse reads a credentials file. The error names every mistake with its line.
func parse(data []byte) (*book, error) {
	var doc yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&doc); errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty: it needs a section users")
	} else if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	c := &checker{}
	c.knownKeys(doc.Content[0], "the file", "users", "anonymous")
	if doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.Join(c.found...)
	}
	var shape struct {
		Users     map[string]yaml.Node `yaml:"users"`
		Anonymous yaml.Node            `yaml:"anonymous"`
	}
	if err := doc.Decode(&shape); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	b := &book{users: map[string]*user{}, ids: map[string]keyOwner{}}
	for _, name := range slices.Sorted(maps.Keys(shape.Users)) {
		node := shape.Users[name]
		u := c.user(&node, name)
		b.users[name] = u
	}
	c.keys(b, shape.Users)
	if n := shape.Anonymous; n.Kind != 0 {
		c.knownKeys(&n, "anonymous", "publish", "view")
		c.decode(&n, "anonymous", &b.anonymous)
		c.patterns(&n, "anonymous", &b.anonymous)
	}
	if len(b.users) == 0 {
		c.say(0, "section users names nobody: add a user, or remove the file to have one made")
	}
	return b, errors.Join(c.found...)
}

// checker collects what is wrong with a file.
type checker struct{ found []error }

func (c *checker) say(line int, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if line > 0 {
		text = fmt.Sprintf("line %d: %s", line, text)
	}
	c.found = append(c.found, errors.New(text))
}

// knownKeys refuses keys of a mapping that mean nothing here.
func (c *checker) knownKeys(n *yaml.Node, where string, known ...string) {
	if n.Kind != yaml.MappingNode {
		c.say(n.Line, "%s must hold keys with values", where)
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if slices.Contains(known, k.Value) {
			continue
		}
		hint := "known are " + strings.Join(known, ", ")
		if near := nearest(k.Value, known); near != "" {
			hint = "did you mean " + near + "?"
		}
		c.say(k.Line, "unknown key %q in %s: %s", k.Value, where, hint)
	}
}

func (c *checker) decode(n *yaml.Node, where string, v any) {
	if err := n.Decode(v); err != nil {
		c.say(n.Line, "%s: %s", where, strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: "), "\n", ""))
	}
}

// user reads one user.
func (c *checker) user(n *yaml.Node, name string) *user {
	where := fmt.Sprintf("user %q", name)
	u := &user{}
	if !userName.MatchString(name) {
		c.say(n.Line, "%s: a name has up to 64 of the characters A-Z a-z 0-9 _ . @ - and begins with a letter or a digit", where)
	}
	c.knownKeys(n, where, "password", "keys", "admin", "metrics", "publish", "view")
	c.decode(n, where, u)
	u.name = name
	if u.Password == "" && len(u.Keys) == 0 {
		c.say(n.Line, "%s has neither password nor keys: give it one, or nobody can be it", where)
	}
	if u.Password != "" && len(u.Password) < minPassword {
		c.say(n.Line, "%s: the password has %d characters: give it %d or more", where, len(u.Password), minPassword)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "keys" && n.Content[i+1].Kind == yaml.SequenceNode {
			for _, k := range n.Content[i+1].Content {
				c.knownKeys(k, "a key of "+where, "id", "secret")
			}
		}
	}
	c.patterns(n, where, u)
	return u
}

func (c *checker) patterns(n *yaml.Node, where string, u *user) {
	for _, p := range slices.Concat(u.Publish, u.View) {
		if _, err := path.Match(p, ""); err != nil || p == "" || strings.Contains(p, "/") {
			c.say(n.Line, "%s: %q is no pattern of stream names: use a name, * for any characters, ? for one", where, p)
		}
	}
}

// keys enters the keys of all users and sees to it that nothing is ambiguous.
func (c *checker) keys(b *book, nodes map[string]yaml.Node) {
	secrets := map[string]string{} // secret -> user
	for _, name := range slices.Sorted(maps.Keys(b.users)) {
		u, line := b.users[name], nodes[name].Line
		for _, k := range u.Keys {
			_, taken := b.ids[k.ID]
			switch {
			case !keyID.MatchString(k.ID):
				c.say(line, "user %q: key id %q: use 4 to 128 of the characters A-Z a-z 0-9 _", name, k.ID)
			case taken || b.users[k.ID] != nil:
				c.say(line, "user %q: key id %q is used twice, or is the name of a user: choose another", name, k.ID)
			}
			if len(k.Secret) < minSecret {
				c.say(line, "user %q: the secret of key %q has %d characters: give it %d or more", name, k.ID, len(k.Secret), minSecret)
			}
			if other, taken := secrets[k.Secret]; taken {
				c.say(line, "user %q: the secret of key %q is also one of user %q: every key needs its own", name, k.ID, other)
			}
			secrets[k.Secret] = name
			b.ids[k.ID] = keyOwner{u, k.Secret}
		}
	}
}

// nearest returns the known word that s is a slip of the keyboard away from, or "".
func nearest(s string, known []string) string {
	best, at := "", 3
	for _, k := range known {
		if d := distance(strings.ToLower(s), k); d < at {
			best, at = k, d
		}
	}
	return best
}

// distance is the number of characters to change, add or remove (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
