package main

import (
	"context"
	"net/http"

	"github.com/kineweir/kineweir/web"
	"github.com/kineweir/kineweir/web/awswire"
	"github.com/kineweir/kineweir/web/kinesisapi"
	"github.com/kineweir/kineweir/web/metrics"
	"github.com/kineweir/kineweir/web/sigv4"
	"github.com/kineweir/kineweir/web/socket"
)

// kinesisRoutes are those of the Kinesis API: SDKs send everything to POST /.
func (s *server) kinesisRoutes(ctx context.Context, calls *metrics.Calls) ([]web.Route, error) {
	c := s.config
	o := kinesisapi.Options{
		Engine: s.records.engine, Meta: s.records.meta, Limits: c.recordLimits(),
		Account: c.AWS.Account, Region: c.AWS.Region, Log: s.log, Observe: calls.Observe,
	}
	if !s.users.Open() {
		o.Authenticate = s.signed
	}
	h, err := kinesisapi.New(ctx, o)
	if err != nil {
		return nil, err
	}
	return []web.Route{{Pattern: "POST /{$}", Kind: web.Call, Handler: h}}, nil
}

// socketRoutes are those of the WebSockets of data streams.
func (s *server) socketRoutes() ([]web.Route, error) {
	h, err := socket.New(socket.Options{
		Engine: s.records.engine, Access: s.users, Open: s.users.Open(), Origins: s.config.HTTP.Origins, Log: s.log,
	})
	if err != nil {
		return nil, err
	}
	s.onStop("sockets", h.Close)
	return h.Routes(), nil
}

// signed says who signed a request, with the rights of this moment.
func (s *server) signed(r *http.Request, body []byte) (awswire.Caller, *awswire.Error) {
	key, err := sigv4.Verify(r, body, sigv4.Options{Service: "kinesis", Region: s.config.AWS.Region, Secret: s.users.Secret})
	if err != nil {
		return awswire.Caller{}, &awswire.Error{Code: err.Code, Message: err.Message, Status: err.Status}
	}
	c, ok := s.users.Caller(key)
	if !ok { // taken out of the file since
		return awswire.Caller{}, &awswire.Error{Code: "UnrecognizedClientException", Message: "The security token included in the request is invalid."}
	}
	return awswire.Caller{AccessKey: key, Account: s.config.AWS.Account, User: c.Name(), May: c.May}, nil
}
