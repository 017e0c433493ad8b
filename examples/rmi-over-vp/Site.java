import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.rmi.server.RMIServerSocketFactory;

/** Listens on one address only: here both sites are on one machine. Elsewhere RMI's own factory, which is null, will do. */
record Site(InetAddress address) implements RMIServerSocketFactory {
    static Site at(String address) throws IOException {
        return new Site(InetAddress.getByName(address));
    }

    @Override
    public ServerSocket createServerSocket(int port) throws IOException {
        return new ServerSocket(port, 0, address);
    }
}
