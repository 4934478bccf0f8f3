package sdk

import (
	"context"
	"errors"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/invectd/invectd/plugins/protocol"
)

// Serve answers the daemon until that ends the program. It is the whole of main.
func Serve(p Plugin) {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion:  protocol.Version,
			MagicCookieKey:   protocol.CookieKey,
			MagicCookieValue: protocol.CookieValue,
		},
		Logger:  hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: os.Stderr}),
		Plugins: plugin.PluginSet{protocol.Service: &grpcPlugin{server: NewServer(p)}},
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(options, grpc.MaxRecvMsgSize(protocol.MaxMessage), grpc.MaxSendMsgSize(protocol.MaxMessage))...)
		},
	})
}

// grpcPlugin hands the service to go-plugin.
type grpcPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	server protocol.ProviderServer
}

// GRPCServer implements [plugin.GRPCPlugin].
func (p *grpcPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	protocol.RegisterProviderServer(s, p.server)
	return nil
}

// GRPCClient implements [plugin.GRPCPlugin]. It is the daemon's side.
func (*grpcPlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("a plugin calls nobody")
}
