import java.rmi.Remote;
import java.rmi.RemoteException;

/** What the client offers: the server calls it back. */
public interface Listener extends Remote {
    void counted(int number) throws RemoteException;
}
