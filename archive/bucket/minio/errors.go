package minio

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"

	s3 "github.com/minio/minio-go/v7"

	"github.com/kineweir/kineweir/archive/bucket"
)

// verdict says what an error is good for.
type verdict int

const (
	passing verdict = iota // trying again may help
	answer                 // the store answered: absent, exists, range, full
	lasting                // trying again will not help
)

// code is the S3 error code in err, or "".
func code(err error) string {
	var r s3.ErrorResponse
	if errors.As(err, &r) {
		return r.Code
	}
	return ""
}

// hint says what to do about an S3 error code that lasts (codes: "Error responses" of the Amazon S3 API
// Reference), or "" for a code that is not known to last.
func hint(code string) string {
	switch code {
	case s3.NoSuchBucket:
		return "the bucket does not exist: make it, correct its name, or allow it to be created"
	case s3.AccessDenied:
		return "the key may not do this: allow it s3:GetObject, s3:PutObject, s3:DeleteObject and " +
			"s3:AbortMultipartUpload on the objects, s3:ListBucket and s3:GetBucketLocation on the bucket"
	case s3.InvalidAccessKeyID:
		return "the server does not know the access key"
	case s3.SignatureDoesNotMatch:
		return "the secret key is wrong, or something between here and the server changes requests"
	case "AllAccessDisabled", "AccountProblem":
		return "the account or bucket is disabled"
	case "InvalidToken", "ExpiredToken":
		return "the session token is wrong or has expired"
	case "RequestTimeTooSkewed":
		return "the clocks of this machine and of the server differ by more than 15 minutes: set them"
	case s3.AuthorizationHeaderMalformed, s3.InvalidRegion, "PermanentRedirect", "IllegalLocationConstraintException":
		return "the bucket is in another region: set the region, and the endpoint of that region"
	case "BucketAlreadyExists":
		return "the bucket belongs to someone else: choose another name"
	case "MethodNotAllowed":
		return "the server does not allow this: is the endpoint the S3 port, not that of its console?"
	case s3.NotImplemented:
		return "the server lacks a part of S3 that is needed"
	case "InvalidObjectState":
		return "the object was moved to a cold storage class: restore it, and end the rule that moved it"
	case "ObjectLocked":
		return "the object is locked against deletion"
	}
	return ""
}

// passes says whether an S3 error code passes although its status may not say so.
func passes(code string) bool {
	switch code {
	case "RequestTimeout", "SlowDown", "InternalError", "ServiceUnavailable", "OperationAborted",
		"ConditionalRequestConflict", "XMinioServerNotInitialized", "IncompleteBody":
		return true
	case "BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch":
		return true // damaged on the way: the bytes are still good here
	}
	return false
}

// full says whether an S3 error code speaks of a store without room.
func full(code string) bool {
	switch code {
	case "XMinioStorageFull", "InsufficientStorage", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded":
		return true
	}
	return false
}

// classify tells whether an error is worth another attempt, and gives it its meaning in a bucket.
func classify(err error) (verdict, error) {
	var own *bucket.RangeError
	switch {
	case errors.Is(err, bucket.ErrAbsent), errors.Is(err, bucket.ErrExists), errors.As(err, &own):
		return answer, err
	case errors.Is(err, bucket.ErrCorrupt):
		return lasting, err // Put begins anew itself
	case errors.Is(err, errBody), errors.Is(err, bucket.ErrRefused):
		return lasting, err
	}
	var r s3.ErrorResponse
	if errors.As(err, &r) {
		return classifyResponse(r, err)
	}
	return classifyTransport(err)
}

func classifyResponse(r s3.ErrorResponse, err error) (verdict, error) {
	switch {
	case r.Code == s3.NoSuchKey:
		return answer, fmt.Errorf("%w (%v)", bucket.ErrAbsent, err)
	case r.Code == s3.PreconditionFailed:
		return answer, fmt.Errorf("%w (%v)", bucket.ErrExists, err)
	case r.Code == s3.InvalidRange:
		return answer, err
	case full(r.Code) || r.StatusCode == http.StatusInsufficientStorage:
		return answer, fmt.Errorf("%w: %w", bucket.ErrFull, err)
	case passes(r.Code):
		return passing, err
	case hint(r.Code) != "":
		return lasting, fmt.Errorf("%w: %w (%s)", bucket.ErrRefused, err, hint(r.Code))
	case r.StatusCode == http.StatusRequestTimeout, r.StatusCode == http.StatusTooManyRequests, r.StatusCode >= 500:
		return passing, err
	case r.StatusCode == http.StatusUnauthorized, r.StatusCode == http.StatusForbidden:
		return lasting, fmt.Errorf("%w: %w (%s)", bucket.ErrRefused, err, hint(s3.AccessDenied))
	}
	return lasting, fmt.Errorf("%w: %w", bucket.ErrRefused, err)
}

// classifyTransport judges what is no answer in S3's language: nearly all of it may pass.
func classifyTransport(err error) (verdict, error) {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
	)
	hint := ""
	switch {
	case errors.As(err, &authority):
		hint = "the server's certificate is signed by an authority this machine does not trust: give its certificate"
	case errors.As(err, &host):
		hint = "the server's certificate is for another host name: use that name, or give the server a certificate for this one"
	case errors.As(err, &invalid):
		hint = "the server's certificate is not valid: renew it, or set the clock"
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		hint = "the server does not speak TLS: use http:// for the endpoint"
	default:
		return passing, err
	}
	return lasting, fmt.Errorf("%w: %w (%s)", bucket.ErrRefused, err, hint)
}
