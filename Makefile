build:
	CGO_ENABLED=0 go build -trimpath -o bin/kineweir ./cmd/kineweir
.PHONY: build
