package kinesisapi

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/kineweir/kineweir/datastream"
)

// addTags gives tags to a stream or consumer, however it was named.
func (h *Handler) addTags(ctx context.Context, r resource, tags map[string]string) error {
	for k, v := range tags {
		if err := h.checkTags("add tags to", r.stream, k, v); err != nil {
			return err
		}
	}
	var err error
	if r.consumer == "" {
		err = h.engine.Tag(ctx, r.stream, tags)
	} else {
		err = h.engine.TagConsumer(ctx, r.stream, r.consumer, tags)
	}
	if have, e := h.tags(r); e == nil && errors.Is(err, datastream.ErrInvalid) {
		maps.Copy(have, tags)
		if len(have) > datastream.MaxTags {
			return invalid("Failed to add tags to stream %s under account %s because a given stream cannot have more than %d tags associated with it.",
				r.stream, h.account, datastream.MaxTags)
		}
	}
	return err
}

// removeTags takes tags away; those that are not there do not matter.
func (h *Handler) removeTags(ctx context.Context, r resource, keys []string) error {
	for _, k := range keys {
		if err := h.checkTags("remove tags from", r.stream, k); err != nil {
			return err
		}
	}
	if r.consumer == "" {
		return h.engine.Untag(ctx, r.stream, keys)
	}
	return h.engine.UntagConsumer(ctx, r.stream, r.consumer, keys)
}

// tags are those of a stream or consumer.
func (h *Handler) tags(r resource) (map[string]string, error) {
	if r.consumer == "" {
		return h.engine.Tags(r.stream)
	}
	return h.engine.ConsumerTags(r.stream, r.consumer)
}

// sortedTags are tags by key.
func sortedTags(tags map[string]string) []tagShape {
	list := make([]tagShape, 0, len(tags))
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, tagShape{k, tags[k]})
	}
	return list
}

// checkTags refuses characters that keys and values may not have. The texts are
// the service's, which has two of them.
func (h *Handler) checkTags(doing, stream string, texts ...string) error {
	for _, text := range texts {
		if strings.ContainsFunc(text, func(r rune) bool { return !tagCharacter(r) && r != '%' }) {
			return invalid("Some tags contain invalid characters. Valid characters: Unicode letters, digits, white space, _ . / = + - %% @.")
		}
	}
	for _, text := range texts {
		if strings.Contains(text, "%") {
			return invalid("Failed to %s stream %s under account %s because some tags contained illegal characters. "+
				"The allowed characters are Unicode letters, white-spaces, '_',',','/','=','+','-','@'.", doing, stream, h.account)
		}
	}
	return nil
}

// tagCharacter reports whether a tag may have a character. White space is what
// Unicode calls a space: tabs and ends of lines are refused.
func tagCharacter(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r) || unicode.Is(unicode.Zs, r) ||
		strings.ContainsRune("_./=+-@:", r)
}
