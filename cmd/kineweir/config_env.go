package main

import (
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
)

const envPrefix = "KINEWEIR_"

// applyEnvironment sets keys from the environment: key a.b is KINEWEIR_A_B. A
// camera or stream is named as in the file, with everything but letters and
// digits written as "_"; one that is not in the file is made in lower case.
func applyEnvironment(c *Config, environ []string) (bad []problem) {
	keys := leafPaths(reflect.TypeFor[Config](), "")
	for _, pair := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, envPrefix) || name == keyVariable || fromOrchestrator(name) {
			continue
		}
		from := origin{text: "environment " + name}
		if i := slices.IndexFunc(keys, func(k string) bool { return envName(k) == name }); i >= 0 {
			if err := setPath(c, keys[i], value, from); err != nil {
				bad = append(bad, problem{from, keys[i], err.Error()})
			}
			continue
		}
		if path, err, ok := setEntry(c, name, value, from); ok {
			if err != nil {
				bad = append(bad, problem{from, path, err.Error()})
			}
			continue
		}
		bad = append(bad, problem{from, "", "unknown key" + envHint(name, keys)})
	}
	return bad
}

// fromOrchestrator recognises the variables that Kubernetes sets in every pod
// beside a service named "kineweir".
func fromOrchestrator(name string) bool {
	return strings.HasPrefix(name, envPrefix+"SERVICE_") || name == envPrefix+"PORT" || strings.HasPrefix(name, envPrefix+"PORT_")
}

func envName(path string) string {
	return envPrefix + envWord(path)
}

func envWord(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, s)
}

func envHint(name string, keys []string) string {
	var names []string
	for _, k := range keys {
		names = append(names, envName(k))
	}
	if near := nearest(name, names); near != "" {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return `; "kineweir config" lists the keys`
}

// setEntry sets a key of a named entry, such as KINEWEIR_CAMERAS_DOOR_URL.
func setEntry(c *Config, name, value string, from origin) (path string, err error, ok bool) {
	for at, section := range namedEntries(reflect.ValueOf(c).Elem(), "") {
		rest, found := strings.CutPrefix(name, envName(at)+"_")
		if !found {
			continue
		}
		for _, leaf := range leafPaths(section.Type().Elem(), "") {
			word, found := strings.CutSuffix(rest, "_"+envWord(leaf))
			if !found || word == "" {
				continue
			}
			key := entryNamed(section, word)
			path = at + "." + key + "." + leaf
			entry := mapEntry(section, key)
			field, tag := entry, reflect.StructTag("")
			for part := range strings.SplitSeq(leaf, ".") {
				field, tag, _ = fieldByName(field, part)
			}
			if err := setLeaf(field, tag, value); err != nil {
				return path, err, true
			}
			section.SetMapIndex(reflect.ValueOf(key), entry)
			c.origin[path] = from
			return path, nil, true
		}
	}
	return "", nil, false
}

// namedEntries yields the sections of a struct whose keys are names, by path.
func namedEntries(v reflect.Value, path string) iter.Seq2[string, reflect.Value] {
	return func(yield func(string, reflect.Value) bool) {
		for f, section := range v.Fields() {
			at := join(path, f.Tag.Get("yaml"))
			switch {
			case f.Tag.Get("yaml") == "":
			case f.Type.Kind() == reflect.Map:
				if !yield(at, section) {
					return
				}
			case !isLeaf(f.Type):
				for inner, entries := range namedEntries(section, at) {
					if !yield(inner, entries) {
						return
					}
				}
			}
		}
	}
}

// entryNamed returns the key of m that the environment writes as word.
func entryNamed(m reflect.Value, word string) string {
	for _, k := range m.MapKeys() {
		if envWord(k.String()) == word {
			return k.String()
		}
	}
	return strings.ToLower(word)
}

// leafPaths returns the paths of all keys of a struct type that take one value,
// but those in named entries.
func leafPaths(t reflect.Type, path string) (paths []string) {
	for f := range t.Fields() {
		key := f.Tag.Get("yaml")
		switch {
		case key == "" || f.Type.Kind() == reflect.Map:
		case isLeaf(f.Type):
			paths = append(paths, join(path, key))
		default:
			paths = append(paths, leafPaths(f.Type, join(path, key))...)
		}
	}
	return paths
}
