package main

import (
	_ "github.com/bluenviron/gortsplib/v4"
	_ "github.com/bluenviron/gortsplib/v4/pkg/format"
	_ "github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	_ "github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
	_ "github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	_ "github.com/bluenviron/mediacommon/v2/pkg/formats/mp4"
	_ "github.com/gorilla/websocket"
	_ "github.com/mewkiz/flac"
	_ "github.com/minio/minio-go/v7"
	_ "github.com/pion/rtcp"
	_ "github.com/pion/rtp"
	_ "github.com/pion/sdp/v3"
	_ "go.yaml.in/yaml/v3"
	_ "golang.org/x/crypto/argon2"
	_ "golang.org/x/sys/unix"
)
