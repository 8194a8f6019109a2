"""What local programs call: the sockets, the services behind them, and the wire."""
