// Package awswire speaks the wire protocols that AWS SDKs speak to record
// services: JSON 1.1, CBOR 1.1 and, for answers without an end, the event
// stream. It decodes a request into the input struct of an operation, checks
// the struct by its tags, calls the operation and encodes what it returns, or
// why it refused, as the caller's SDK expects it.
//
// It owns the encodings, the order of the checks of a request, the texts of
// serialization and validation errors, request ids and the bounds of a request:
// its size, depth and number of members, the time that a client may take to
// send it and to take the answer.
//
// It knows no operation, no stream and no user, keeps nothing between requests
// but buffers. The body of a request in JSON is held as long as its decoding takes,
// its blobs, and a body in CBOR, in which they lie, until it is answered.
//
// # Speed
//
// Structs are read and written by way of package reflect, but for those that
// are [Direct]: they hand out the places of their members themselves. Those on
// the way of records are. Nothing is allocated for a record but its part of a
// list and its share of a piece for strings.
//
// # Structs
//
// Fields that are on the wire have a tag:
//
//	StreamName string   `aws:"StreamName,required,min=1,max=128,pattern=name"`
//	Limit      *int64   `aws:"Limit,min=1,max=10000"`
//	Mode       string   `aws:"Mode,enum=ON_DEMAND|PROVISIONED"`
//	TagKeys    []string `aws:"TagKeys,required,min=1,max=50,each.min=1,each.max=128"`
//	Tags       map[string]string `aws:"Tags,max=50,key.min=1,key.max=128,value.max=256"`
//	Next       string   `aws:"NextToken,omitempty"`
//
// The first word is the name of the member. Kinds are strings, []byte (a blob),
// bools, int, int32 and int64, [Time], structs, and pointers to, and slices of
// all these, and map[string]string; in answers also any type that is a [Text]. A nil pointer is absent in both directions;
// an absent member leaves its field as it is, a present and empty slice or map
// is not nil. In answers omitempty leaves out the zero value, and a nil slice
// or map without it is written empty. A zero [Time] is always left out.
//
// min and max bound the number of an integer, the characters of a string, the
// bytes of a blob, the members of a list or map; pattern names an expression of
// [Service.Patterns] that the whole string has to match; each., key. and value.
// put these on the members. Integers are the 32 bit ones of the service, and
// clamped as it does, but for those marked long. A list or map without max takes
// [MaxMembers]. The word shown=Text is what a validation error shows for each
// member of a list of structs.
package awswire
