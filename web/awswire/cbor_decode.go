package awswire

import "reflect"

func decodeCBOR(s *shape, body []byte, v reflect.Value) (*intake, error) {
	return &intake{}, errSyntax
}

func validCBOR(body []byte) bool { return false }
