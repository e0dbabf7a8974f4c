package main

import (
	"encoding"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decoder sets the fields of a Config from YAML and keeps where each came from.
// It goes on after a mistake, so that one run shows them all.
type decoder struct {
	origin map[string]origin
	bad    []problem
}

// decodeYAML decodes text over what c holds.
func decodeYAML(text []byte, c *Config) []problem {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return []problem{syntaxProblem(err)}
	}
	if len(doc.Content) == 0 {
		return nil // An empty file, or only comments.
	}
	d := decoder{origin: c.origin}
	d.value(doc.Content[0], reflect.ValueOf(c).Elem(), "", "")
	return d.bad
}

// syntaxProblem takes the line out of an error of package yaml.
func syntaxProblem(err error) problem {
	what := strings.TrimPrefix(err.Error(), "yaml: ")
	m := regexp.MustCompile(`^line (\d+): (.*)`).FindStringSubmatch(what)
	if m == nil { // The library leaves the line out when it is the first.
		return problem{where: origin{line: 1}, what: "not YAML: " + what}
	}
	line, _ := strconv.Atoi(m[1])
	return problem{where: origin{line: line}, what: "not YAML: " + m[2]}
}

func (d *decoder) refuse(n *yaml.Node, path, format string, args ...any) {
	d.bad = append(d.bad, problem{origin{line: n.Line}, path, fmt.Sprintf(format, args...)})
}

// value decodes n into v, which is at path and has the tag of its field.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string, tag reflect.StructTag) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	empty := n.Kind == yaml.ScalarNode && n.Tag == "!!null"
	switch {
	case isLeaf(v.Type()):
		d.leaf(n, v, path, tag)
	case empty: // "cameras:" with nothing below
	case n.Kind != yaml.MappingNode:
		d.refuse(n, path, "expected keys below it, found %s", kindOf(n))
	default:
		d.mapping(n, v, path)
	}
}

func (d *decoder) leaf(n *yaml.Node, v reflect.Value, path string, tag reflect.StructTag) {
	if n.Kind != yaml.ScalarNode {
		d.refuse(n, path, "expected one value, found %s", kindOf(n))
		return
	}
	text := n.Value
	if n.Tag == "!!null" {
		text = ""
	}
	if err := setLeaf(v, tag, text); err != nil {
		d.refuse(n, path, "%v", err)
	}
}

// mapping decodes the keys of n into a struct or a map.
func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := join(path, key.Value)
		if line, twice := seen[key.Value]; twice {
			d.refuse(key, at, "given twice, first in line %d", line)
			continue
		}
		seen[key.Value] = key.Line
		d.origin[at] = origin{line: key.Line}
		if v.Kind() == reflect.Map {
			entry := mapEntry(v, key.Value)
			d.value(value, entry, at, "")
			v.SetMapIndex(reflect.ValueOf(key.Value), entry)
			continue
		}
		field, tag, ok := fieldByName(v, key.Value)
		if !ok {
			d.refuse(key, at, "unknown key%s", didYouMean(key.Value, keysOf(v.Type())))
			continue
		}
		d.value(value, field, at, tag)
	}
}

// mapEntry returns a copy of m[key] that can be changed, at its defaults when
// it is new. It makes the map.
func mapEntry(m reflect.Value, key string) reflect.Value {
	if m.IsNil() {
		m.Set(reflect.MakeMap(m.Type()))
	}
	entry := reflect.New(m.Type().Elem()).Elem()
	if old := m.MapIndex(reflect.ValueOf(key)); old.IsValid() {
		entry.Set(old)
		return entry
	}
	for f, v := range entry.Fields() {
		if oneOf, ok := f.Tag.Lookup("oneof"); ok {
			first, _, _ := strings.Cut(oneOf, " ")
			v.SetString(first)
		}
	}
	return entry
}

// isLeaf reports whether a field of this type takes one value.
func isLeaf(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() != reflect.Struct && t.Kind() != reflect.Map
}

// setLeaf sets v from text by its type and the tags of its field: oneof lists
// the words that are allowed, allow one more: "none" for no limit (zero),
// "empty" for nothing.
func setLeaf(v reflect.Value, tag reflect.StructTag, text string) error {
	if v.Kind() == reflect.Pointer {
		p := reflect.New(v.Type().Elem())
		if err := setLeaf(p.Elem(), tag, text); err != nil {
			return err
		}
		v.Set(p)
		return nil
	}
	allow := tag.Get("allow")
	if allow == "none" && text == "none" || allow == "empty" && text == "" {
		v.SetZero()
		return nil
	}
	if err := setValue(v, tag, text); err != nil {
		if allow == "none" {
			return fmt.Errorf(`%w, or "none"`, err)
		}
		return err
	}
	return nil
}

func setValue(v reflect.Value, tag reflect.StructTag, text string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		v.SetBool(text == "true")
	case reflect.Int:
		n, err := count(text)
		if err != nil {
			return err
		}
		v.SetInt(n)
	case reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || !(n >= 0 && n < 1e9) {
			return fmt.Errorf("%q is not a number such as 0.5", text)
		}
		v.SetFloat(n)
	case reflect.String:
		if words, ok := tag.Lookup("oneof"); ok && !slices.Contains(strings.Fields(words), text) {
			return fmt.Errorf("%q is none of %s", text, strings.ReplaceAll(words, " ", ", "))
		}
		v.SetString(text)
	default:
		panic("config: no rule for fields of type " + v.Type().String())
	}
	return nil
}

// setPath sets the key at path, which exists, from text.
func setPath(c *Config, path, text string, from origin) error {
	v, tag := reflect.ValueOf(c).Elem(), reflect.StructTag("")
	for name := range strings.SplitSeq(path, ".") {
		v, tag, _ = fieldByName(v, name)
	}
	if err := setLeaf(v, tag, text); err != nil {
		return err
	}
	c.origin[path] = from
	return nil
}

// fieldByName returns the field of a struct that has a key in the file.
func fieldByName(v reflect.Value, key string) (reflect.Value, reflect.StructTag, bool) {
	for f, field := range v.Fields() {
		if f.Tag.Get("yaml") == key && key != "" {
			return field, f.Tag, true
		}
	}
	return reflect.Value{}, "", false
}

// keysOf returns the keys of a struct type.
func keysOf(t reflect.Type) []string {
	var keys []string
	for f := range t.Fields() {
		if key := f.Tag.Get("yaml"); key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func didYouMean(s string, names []string) string {
	if near := nearest(s, names); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return "; known here are " + strings.Join(names, ", ")
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys"
	case yaml.SequenceNode:
		return "a list"
	}
	return fmt.Sprintf("%q", n.Value)
}
