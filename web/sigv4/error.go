package sigv4

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
)

// The codes of a refusal, as the JSON services of AWS send them.
const (
	CodeMissing    = "MissingAuthenticationTokenException" // no signature at all
	CodeIncomplete = "IncompleteSignatureException"        // a part is missing or cannot be read
	CodeInvalid    = "InvalidSignatureException"           // it does not match, or is of another time or place
	CodeUnknownKey = "UnrecognizedClientException"         // nobody has the access key
)

// Error is a refusal in the words of the service. No secret and no signature
// stands in it.
type Error struct {
	Code    string
	Message string
	Status  int // of HTTP
}

// Error returns the code and the message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

func refuse(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Status: http.StatusBadRequest}
}

// mismatch is what is said of any signature that is not the one calculated.
func mismatch() *Error {
	return refuse(CodeInvalid, "The request signature we calculated does not match the signature you provided. "+
		"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
}

// notSigned names a header that the signature leaves out and must not.
func notSigned(header string) *Error {
	return refuse(CodeInvalid, "%s must be a 'SignedHeader' in the AWS Authorization.", header)
}

// hashed stands for a header in a message, as the service shows it: whoever
// sent it can find it again, whoever reads a log learns nothing.
func hashed(header string) string {
	sum := sha256.Sum256([]byte(header))
	return base64.StdEncoding.EncodeToString(sum[:])
}
