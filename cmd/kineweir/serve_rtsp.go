package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest/rtsp"
	"github.com/kineweir/kineweir/web"
	"github.com/kineweir/kineweir/web/api"
)

// openRTSP starts the cameras and then the server, which may ask for one.
func (s *server) openRTSP(ctx context.Context) error {
	if err := s.openCameras(); err != nil {
		return err
	}
	c := s.config.RTSP
	if c.Addr == "" && c.TLSAddr == "" {
		return nil
	}
	o := rtsp.ServerOptions{
		Addr: string(c.Addr), TLSAddr: string(c.TLSAddr), UDPAddr: string(c.UDPAddr),
		Publish: rtsp.PublishTo(s.sessions), Hub: s.hub, Auth: s.users, Waker: s.cameras.pull, Log: s.log,
	}
	if c.TLSAddr != "" {
		tls, err := web.TLSConfig(s.tlsOptions())
		if err != nil {
			return err
		}
		o.TLSConfig = tls
	}
	server, err := rtsp.NewServer(o)
	if err != nil {
		return s.portError(err)
	}
	s.rtsp = server
	s.onStop("rtsp", func(context.Context) error { server.Close(); return nil })
	return nil
}

// portError says which key of the configuration names a port that cannot be
// had, and who has it.
func (s *server) portError(err error) error {
	var port *rtsp.PortError
	if !errors.As(err, &port) {
		return err
	}
	c := s.config.RTSP
	for key, addr := range map[string]address{"rtsp.addr": c.Addr, "rtsp.tls_addr": c.TLSAddr, "rtsp.udp_addr": c.UDPAddr} {
		if addr != "" && string(addr) == port.Address {
			return listenError(port.Err, key, port.Network, addr)
		}
	}
	return err
}

func (s *server) tlsOptions() web.TLSOptions {
	return web.TLSOptions{CertFile: s.config.TLS.Cert, KeyFile: s.config.TLS.Key, Dir: s.config.Data, Log: s.log}
}

// cameras are those of the config file, which stay as they are there, and those
// set through the API, which are kept in a store of their own.
type cameras struct {
	pull  *rtsp.Cameras
	fixed map[fragments.StreamName]bool
	store journal.Meta

	changing sync.Mutex // so that what is pulled is what is kept
}

var _ api.Cameras = (*cameras)(nil)

// cameraRecord is a camera as it is kept.
type cameraRecord struct {
	Version   int    `json:"v"`
	URL       string `json:"url"`
	Transport string `json:"transport"`
	OnDemand  bool   `json:"on_demand"`
}

const cameraPrefix = "camera/"

func (r cameraRecord) camera(name fragments.StreamName) rtsp.Camera {
	return rtsp.Camera{Name: name, URL: r.URL, Transport: rtsp.Transport(r.Transport), OnDemand: r.OnDemand}
}

func (s *server) openCameras() error {
	s.cameras = &cameras{
		pull:  rtsp.NewCameras(rtsp.CamerasOptions{Publish: rtsp.PublishTo(s.sessions), Hub: s.hub, Logger: s.log}),
		fixed: map[fragments.StreamName]bool{}, store: s.settings.store,
	}
	s.onStop("cameras", func(context.Context) error { s.cameras.pull.Close(); return nil })
	for name, c := range s.config.Cameras {
		s.cameras.fixed[fragments.StreamName(name)] = true
		err := s.cameras.pull.Set(rtsp.Camera{Name: fragments.StreamName(name), URL: c.URL, Transport: rtsp.Transport(c.Transport), OnDemand: c.OnDemand})
		if err != nil {
			return fmt.Errorf("cameras.%s: %w", name, err)
		}
	}
	s.cameras.restore(func(name fragments.StreamName, err error) {
		s.log.Error("a camera that was set before cannot be used", "camera", name, "error", err)
	})
	return nil
}

func (c *cameras) restore(bad func(fragments.StreamName, error)) {
	for item := range c.store.List(cameraPrefix) {
		name := fragments.StreamName(strings.TrimPrefix(item.Key, cameraPrefix))
		var r cameraRecord
		if err := json.Unmarshal(item.Value, &r); err != nil {
			bad(name, err)
			continue
		}
		if c.fixed[name] {
			continue // the config file counts
		}
		if err := c.pull.Set(r.camera(name)); err != nil {
			bad(name, err)
		}
	}
}

// List implements api.Cameras.
func (c *cameras) List() []api.Camera {
	states := map[rtsp.State]string{rtsp.StateConnecting: "connecting", rtsp.StateLive: "live", rtsp.StateWaiting: "error", rtsp.StateIdle: "idle"}
	var list []api.Camera
	for _, s := range c.pull.List() {
		cam := api.Camera{
			Name: s.Name, URL: s.URL, Transport: string(s.Transport), OnDemand: s.OnDemand,
			Fixed: c.fixed[s.Name], State: states[s.State], Since: s.Since,
		}
		if s.Err != nil {
			cam.Error = s.Err.Error()
		}
		list = append(list, cam)
	}
	return list
}

// Set implements api.Cameras: it keeps the camera first, so that one that is
// pulled is there again after a restart.
func (c *cameras) Set(ctx context.Context, cam api.Camera) error {
	if c.fixed[cam.Name] {
		return api.ErrFixedCamera
	}
	record := cameraRecord{Version: 1, URL: cam.URL, Transport: cam.Transport, OnDemand: cam.OnDemand}
	pulled := record.camera(cam.Name)
	if err := pulled.Validate(); err != nil {
		return err
	}
	value, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("keep camera %s: %w", cam.Name, err)
	}
	c.changing.Lock()
	defer c.changing.Unlock()
	revision, err := revisionOf(c.store, cameraPrefix+string(cam.Name))
	if err == nil {
		_, err = c.store.Put(ctx, cameraPrefix+string(cam.Name), value, revision)
	}
	if err != nil {
		return fmt.Errorf("keep camera %s: %w", cam.Name, err)
	}
	return c.pull.Set(pulled)
}

// Delete implements api.Cameras.
func (c *cameras) Delete(ctx context.Context, name fragments.StreamName) error {
	if c.fixed[name] {
		return api.ErrFixedCamera
	}
	c.changing.Lock()
	defer c.changing.Unlock()
	revision, err := revisionOf(c.store, cameraPrefix+string(name))
	if err == nil && revision > 0 {
		err = c.store.Delete(ctx, cameraPrefix+string(name), revision)
	}
	if err != nil {
		return fmt.Errorf("forget camera %s: %w", name, err)
	}
	if !c.pull.Delete(name) {
		return api.ErrNoCamera
	}
	return nil
}
